# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes host, task and module of each module that is executed on a host as a line to the file $EXECUTIONS, also those that an action such as
template executes: they are what a run over a slow connection waits for."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = '''
name: executions
type: notification
short_description: Records the modules that were executed on hosts
description:
  - Used by the tests and the benchmark alone.
'''


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = 'notification'
    CALLBACK_NAME = 'executions'

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        path = os.environ.get('EXECUTIONS')
        self.disabled = not path
        if not path:
            return
        execute = ActionBase._execute_module

        def record(action, module_name=None, *args, task_vars=None, **kwargs):
            with open(path, 'a', encoding='utf-8') as handle:
                handle.write('%s\t%s\t%s\n' % ((task_vars or {}).get('inventory_hostname'), action._task.get_name(), module_name or action._task.action))
            return execute(action, module_name, *args, task_vars=task_vars, **kwargs)

        # the processes that execute tasks are forked from this one
        ActionBase._execute_module = record
