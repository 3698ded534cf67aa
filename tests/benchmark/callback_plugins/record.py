# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes each task and each item of a loop, with the seconds that it took, as a line of JSON to the file $BENCHMARK_RAW."""

from __future__ import annotations

import json
import os
import time

from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

DOCUMENTATION = '''
name: record
type: notification
short_description: Records what tasks returned and how long they took
description:
  - Used by the benchmark alone.
'''


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = 'notification'
    CALLBACK_NAME = 'record'

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        path = os.environ.get('BENCHMARK_RAW')
        self.disabled = not path
        self.raw = open(path, 'a', encoding='utf-8') if path else None
        self.task = None
        self.began = self.last = 0.0

    def write(self, **record):
        self.raw.write(json.dumps(record, default=str) + '\n')
        self.raw.flush()

    def v2_playbook_on_start(self, playbook):
        self.write(kind='controller', ansible=__version__)

    def v2_playbook_on_task_start(self, task, is_conditional):
        # here the name's variables are filled in, in a result they are not
        self.task = task.get_name()
        self.began = self.last = time.time()

    def v2_runner_item_on_ok(self, result):
        now = time.time()
        self.write(kind='item', task=self.task, began=self.last, ended=now, seconds=now - self.last, result=result._result)
        self.last = now

    def v2_runner_on_ok(self, result):
        now = time.time()
        said = dict((key, value) for key, value in result._result.items() if key != 'results')
        self.write(kind='task', task=self.task, began=self.began, ended=now, seconds=now - self.began, result=said)
