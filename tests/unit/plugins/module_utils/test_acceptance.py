# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import itertools

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils._acceptance import CONNECTED, QUEUED, REFUSED, TAKEN, UNASKED, accepts

YES, NO, SETTLED = 'yes', 'no', 'if it is settled'
CONNECTIONS = UNASKED, REFUSED, QUEUED, CONNECTED, TAKEN
CHANGES = None, 'start', 'restart', 'reload'
# By what the stats tell, whether it sleeps, and what is asked of it: the answer for each of CONNECTIONS.
TABLE = {
    (True, False, None): (YES, NO, NO, YES, YES),
    (True, False, 'start'): (YES, NO, NO, YES, YES),
    (True, False, 'restart'): (YES, NO, NO, YES, YES),
    (True, False, 'reload'): (YES, NO, NO, NO, YES),
    (True, True, None): (YES, YES, YES, YES, YES),
    (True, True, 'start'): (YES, NO, NO, NO, YES),
    (True, True, 'restart'): (YES, NO, NO, NO, YES),
    (True, True, 'reload'): (YES, NO, NO, NO, YES),
    (False, False, None): (NO, NO, NO, NO, NO),
    (False, False, 'start'): (NO, NO, NO, NO, NO),
    (False, False, 'restart'): (NO, NO, NO, NO, NO),
    (False, False, 'reload'): (NO, NO, NO, NO, NO),
    (False, True, None): (YES, YES, YES, YES, YES),
    (False, True, 'start'): (YES, NO, NO, NO, YES),
    (False, True, 'restart'): (YES, NO, NO, NO, YES),
    (False, True, 'reload'): (YES, NO, NO, NO, YES),
    (None, False, None): (SETTLED, NO, NO, SETTLED, YES),
    (None, False, 'start'): (SETTLED, NO, NO, NO, YES),
    (None, False, 'restart'): (SETTLED, NO, NO, NO, YES),
    (None, False, 'reload'): (SETTLED, NO, NO, NO, YES),
    (None, True, None): (YES, YES, YES, YES, YES),
    (None, True, 'start'): (SETTLED, NO, NO, NO, YES),
    (None, True, 'restart'): (SETTLED, NO, NO, NO, YES),
    (None, True, 'reload'): (SETTLED, NO, NO, NO, YES),
}


def test_the_table_has_all_combinations():
    assert set(TABLE) == set(itertools.product((True, False, None), (True, False), CHANGES))


@pytest.mark.parametrize('told, asleep, change', sorted(TABLE, key=str))
@pytest.mark.parametrize('number', range(len(CONNECTIONS)), ids=CONNECTIONS)
def test_it_is_the_rule(told, asleep, change, number):
    asked = []

    def settled(answer):
        asked.append(answer)
        return answer

    found = [accepts(told, asleep, CONNECTIONS[number], lambda: settled(answer), change) for answer in (True, False)]
    assert found == {YES: [True, True], NO: [False, False], SETTLED: [True, False]}[TABLE[told, asleep, change][number]]
    assert bool(asked) is (TABLE[told, asleep, change][number] == SETTLED)
