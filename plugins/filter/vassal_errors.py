# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r'''
---
name: vassal_errors
author:
  - uwsgi.emperor contributors (@uwsgi-emperor)
version_added: 0.1.0
short_description: Tell what the module uwsgi_vassal would refuse of its option vassals
description:
  - Checks applications by the code of M(uwsgi.emperor.uwsgi_vassal), before any host is asked. The role P(uwsgi.emperor.emperor#role) checks
    C(emperor_vassals) by it before it changes anything.
  - Whether the users and groups of C(owner) and C(group) are there is a question to the host, and not asked.
options:
  _input:
    description: The applications, as O(uwsgi.emperor.uwsgi_vassal#module:vassals) has them.
    type: dict
    required: true
seealso:
  - module: uwsgi.emperor.uwsgi_vassal
'''

EXAMPLES = r'''
- name: Check the applications of a host
  ansible.builtin.assert:
    that: errors | length == 0
    fail_msg: "{{ errors | join(' ') }}"
  vars:
    errors: "{{ emperor_vassals | uwsgi.emperor.vassal_errors }}"
'''

RETURN = r'''
_value:
  description: A sentence for each application with which something is wrong.
  type: list
  elements: str
'''

from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, visible_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError
from ansible_collections.uwsgi.emperor.plugins.module_utils._wanted import KEYS, find_wanted


def vassal_errors(vassals):
    errors = []
    for name, value in vassals.items():
        if isinstance(value, dict):
            value = dict((key, one) for key, one in value.items() if key not in ('owner', 'group'))
        task = dict(dict.fromkeys(KEYS), name=None, state='enabled', vassals={name: value})
        try:
            find_wanted(task, None)
        except VassalError as error:
            errors.append(visible_text(to_native(error)))
    return errors


class FilterModule(object):
    """The collection's filters."""

    def filters(self):
        return dict(vassal_errors=vassal_errors)
