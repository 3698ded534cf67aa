# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest
from ansible_collections.uwsgi.emperor.plugins.filter.vassal_errors import vassal_errors


def test_what_the_module_takes_has_no_error():
    # who owns a file is asked on the host
    assert vassal_errors({'shop': None, 'wiki': {'config': {'workers': 2}, 'owner': 'nobody-here', 'group': 'no-group'}, 'old': {'state': 'absent'}}) == []


@pytest.mark.parametrize(
    'vassals, said',
    [
        ({'a b': {}}, 'a b'),
        ({'shop': []}, 'shop: not a dict'),
        ({'shop': {'stat': 'enabled'}}, 'shop: has no option stat'),
        ({'shop': {'state': 'started'}}, 'shop: state is started, not one of'),
        ({'shop': {'config': {}, 'content': ''}}, 'shop: config and content exclude each other'),
        ({'shop': {'config': {'workers': None}}}, 'workers has no value'),
        ({'shop': {'mode': '999'}}, 'shop: mode: 999 is no mode of a file'),
        ({'shop': {'probe': {'paht': '/'}}}, 'shop: probe is a dict of path, status and host'),
    ],
)
def test_what_the_module_refuses_is_told_of_each(vassals, said):
    errors = vassal_errors(dict({'fine': {}, 'other': {'state': 'nowhere'}}, **vassals))
    assert len(errors) == 2 and [error for error in errors if said in error], errors
