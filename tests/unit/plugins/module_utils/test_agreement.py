# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils._agreement import MASKED, decide, decide_links


# One vassal: in which of linked, enabled, agreed, up, down, crashing, renewed it is; its unit; the acts; whether it is agreed on then.
SITUATIONS = [
    # all agree
    ('linked enabled agreed up', 'active', '', True),
    ('', 'inactive', '', False),
    # it starts, or is restarted: only time tells
    ('linked enabled agreed', 'inactive', '', True),
    ('linked enabled agreed', 'active', '', True),
    ('linked enabled agreed', 'failed', '', True),
    # by the module, or by hand
    ('linked', 'inactive', 'enable', True),
    ('linked up', 'inactive', 'enable notice', True),
    ('linked enabled agreed up', 'inactive', 'notice', True),
    ('linked enabled agreed up', 'failed', 'notice', True),
    ('enabled agreed', 'active', 'disable forget', False),
    ('enabled agreed', 'inactive', 'disable', False),
    # what has failed is no failure once it is not enabled any more
    ('enabled agreed', 'failed', 'reset disable', False),
    ('agreed', 'failed', 'reset', False),
    # by systemctl start and stop
    ('linked up', 'active', 'enable', True),
    ('enabled agreed', 'inactive', 'disable', False),
    # by systemctl enable and disable
    ('enabled', 'inactive', 'start', False),
    ('enabled', 'failed', 'disable', False),
    ('linked agreed up', 'active', 'stop', False),
    ('linked agreed down', 'failed', 'end', False),
    ('linked agreed', 'inactive', 'end', False),
    ('agreed', 'inactive', '', False),
    # by systemctl stop, and then by the module, by hand or by systemctl enable, before anybody looked
    ('linked agreed renewed', 'inactive', 'enable', True),
    ('linked agreed renewed up', 'inactive', 'enable notice', True),
    ('linked agreed renewed up', 'active', 'enable', True),
    ('enabled agreed renewed', 'inactive', 'start', False),
    # or both
    ('linked enabled agreed renewed up', 'active', '', True),
    ('agreed renewed', 'inactive', '', False),
    # it does not accept requests any more: the unit asks it why
    ('linked enabled agreed down', 'active', 'restart', True),
    ('linked enabled agreed down crashing', 'active', 'restart', True),
    ('linked enabled agreed down crashing', 'failed', '', True),
    # or never did, since the Emperor was started
    ('linked enabled agreed down crashing', 'inactive', 'restart', True),
    ('linked enabled agreed down', 'inactive', '', True),
    # without a link, whatever systemd remembers
    ('', 'active', 'forget', False),
    ('', 'failed', '', False),
]


@pytest.mark.parametrize('sets, state, acts, agreed', SITUATIONS, ids=[' '.join(one[:2]) for one in SITUATIONS])
def test_what_systemd_is_told(sets, state, acts, agreed):
    arguments = [set(['a']) if kind in sets.split() else set() for kind in ('linked', 'enabled', 'agreed', 'up', 'down', 'crashing')]
    renewed = set(['a'] if 'renewed' in sets.split() else [])
    assert decide(*(arguments + [dict(a=state)]), **dict(renewed=renewed)) == ([(act, 'a') for act in acts.split()], set(['a']) if agreed else set())


@pytest.mark.parametrize(
    'sets, agreed',
    [
        ('linked enabled', True),
        ('agreed', False),
        ('linked agreed', True),
        ('enabled agreed', True),
        ('linked up', False),
        ('enabled', False),
        # stopped before, and enabled after it was masked: nobody has asked for another stop
        ('linked agreed renewed', False),
        ('linked enabled agreed renewed', True),
    ],
)
def test_of_a_masked_unit_only_what_agrees_is_kept_in_mind(sets, agreed):
    arguments = [set(['a']) if kind in sets.split() else set() for kind in ('linked', 'enabled', 'agreed', 'up', 'down', 'crashing')]
    renewed = set(['a'] if 'renewed' in sets.split() else [])
    assert decide(*(arguments + [dict(a=MASKED)]), **dict(renewed=renewed)) == ([], set(['a']) if agreed else set())


@pytest.mark.parametrize('state', ['activating', 'deactivating', 'reloading'])
@pytest.mark.parametrize('sets', sorted(set(one[0] for one in SITUATIONS)))
def test_while_its_unit_is_at_work_a_vassal_is_left_alone(sets, state):
    arguments = [set(['a']) if kind in sets.split() else set() for kind in ('linked', 'enabled', 'agreed', 'up', 'down', 'crashing')]
    renewed = set(['a'] if 'renewed' in sets.split() else [])
    assert decide(*(arguments + [dict(a=state)]), **dict(renewed=renewed)) == ([], arguments[2])


def test_each_vassal_is_decided_on_by_itself():
    both = set(['a', 'b'])
    acts, agreed = decide(both, set(['a']), set(['a']), both, set(), set(), dict(a='active', c='active'))
    assert acts == [('enable', 'b'), ('notice', 'b'), ('forget', 'c')]
    assert agreed == both


def test_what_a_run_of_the_module_changes_is_told_when_it_is_done():
    linked, enabled, agreed = set(['new', 'back', 'down']), set(['back', 'down', 'gone']), set(['back', 'down', 'gone'])
    found = [set(['new', 'back']), set(['down']), set(), dict(new='inactive', back='inactive', down='active', gone='active')]
    # a new link is not agreed on, or it would be taken for one whose unit was disabled; nor is one that went forgotten
    assert decide(linked, enabled, agreed, *(found + [False, False])) == ([('restart', 'down')], agreed)
    assert decide(linked, enabled, agreed, *(found + [False, True]))[0] == [('restart', 'down'), ('disable', 'gone'), ('forget', 'gone')]
    acts, dummy = decide(linked, enabled, agreed, *found)
    assert acts == [('notice', 'back'), ('restart', 'down'), ('disable', 'gone'), ('forget', 'gone'), ('enable', 'new'), ('notice', 'new')]


@pytest.mark.parametrize(
    'linked, enabled, agreed, act',
    [
        (0, 0, 0, None), (0, 0, 1, None), (1, 1, 0, None), (1, 1, 1, None),
        (1, 0, 0, 'enable'), (1, 0, 1, 'unlink'), (0, 1, 0, 'link'), (0, 1, 1, 'disable'),
    ],
)  # fmt: skip
def test_what_changed_since_links_and_units_agreed_counts(linked, enabled, agreed, act):
    acts, then = decide_links(*[set(['a']) if there else set() for there in (linked, enabled, agreed)])
    assert acts == ([(act, 'a')] if act else [])
    assert then == (set(['a']) if act in ('enable', 'link') or linked and enabled else set())
