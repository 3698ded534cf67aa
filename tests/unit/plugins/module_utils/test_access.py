# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils._access import may_read, settle_access, wanted_access
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Situation, make_plan

GAMES = 60
TEXT = b'[uwsgi]\nworkers = 2\n'
RIGHT = (0o640, 0, GAMES)


@pytest.mark.parametrize('found', [None, (0o644, 0, 0), (0o640, 0, 33), (0o640, 0, 0), (0o666, 0, GAMES), (0o600, 1000, 1000), RIGHT])
def test_what_the_module_writes_is_for_root_and_the_applications_group(found):
    assert wanted_access(found, True, GAMES) == RIGHT


@pytest.mark.parametrize('mode', [0o600, 0o400, 0o700])
def test_what_root_has_closed_stays_closed(mode):
    assert wanted_access((mode, 0, 33), True, GAMES) == (mode, 0, 33)


@pytest.mark.parametrize('found', [None, (0o644, 0, 0), (0o600, 1000, 1000)])
def test_what_the_module_does_not_write_is_left_alone(found):
    assert wanted_access(found, False, None) == found


def test_where_the_group_is_not_known_nothing_is_predicted():
    assert wanted_access((0o644, 0, 0), True, None) is None


def test_what_is_asked_for_is_done_and_nothing_else():
    found = (0o644, 1000, 1000)
    assert wanted_access(found, False, None, group=GAMES) == (0o644, 1000, GAMES)
    assert wanted_access(found, False, None, mode=lambda base: base & ~0o007) == (0o640, 1000, 1000)
    assert wanted_access(found, True, 33, owner=1000) == (0o640, 1000, 33)
    assert wanted_access(found, True, None, group=GAMES) == RIGHT


@pytest.mark.parametrize(
    'access, uid, groups, expected',
    [
        ((0o640, 0, GAMES), 5, [GAMES], True),
        ((0o640, 0, GAMES), 5, [33, GAMES], True),
        ((0o640, 0, GAMES), 5, [33], False),
        ((0o600, 0, GAMES), 5, [GAMES], False),
        ((0o600, 5, 0), 5, [33], True),
        ((0o044, 5, 33), 5, [33], False),
        ((0o604, 0, GAMES), 5, [GAMES], False),
        ((0o644, 0, 0), 5, [33], True),
        ((0o000, 5, 5), 0, [0], True),
    ],
)
def test_a_file_is_read_by_whom_its_mode_lets(access, uid, groups, expected):
    assert may_read(access, uid, groups) is expected


@pytest.mark.parametrize('access, actions', [((0o644, 0, 0), ['chmod']), (RIGHT, []), (None, [])])
def test_access_that_differs_is_an_action_of_its_own(access, actions):
    situation = Situation('a', text=TEXT, link='right', pid=20, workers=[21], accepting=True, access=access, env_access=access)
    for wanted in (RIGHT, None), (None, RIGHT), (RIGHT, RIGHT):
        plan = make_plan(situation, 'enabled', TEXT)
        plan = settle_access(situation, plan, *wanted)
        assert (list(plan.actions), plan.mode) == (actions, None)


def test_a_file_that_is_written_gets_its_access_by_that():
    situation = Situation('a', text=TEXT, link='right', pid=20, workers=[21], accepting=True, access=(0o644, 0, 0), env_access=(0o644, 0, 0))
    plan = make_plan(situation, 'enabled', TEXT + b'threads = 2\n')
    plan = settle_access(situation, plan, RIGHT)
    assert list(plan.actions) == ['write', 'reload']
    plan = make_plan(situation, 'enabled', TEXT + b'threads = 2\n')
    plan = settle_access(situation, plan, RIGHT, RIGHT)
    assert list(plan.actions) == ['write', 'chmod', 'reload']


@pytest.mark.parametrize('closed', ['access', 'env_access'])
def test_what_its_user_can_not_read_is_restarted_where_it_would_be_reloaded(closed):
    found = dict(access=RIGHT, env_access=RIGHT)
    found[closed] = (0o600, 0, 0)

    def actions(state, *wanted, **other):
        credentials = other.pop('credentials', (5, [GAMES]))
        other.setdefault('identity', (None, None))
        situation = Situation('a', text=TEXT, link='right', pid=20, workers=[21], accepting=True, credentials=credentials, **found)
        plan = make_plan(situation, state)
        plan = settle_access(situation, plan, *wanted, **other)
        assert plan.mode == ((None,) + plan.actions)[-1]
        return list(plan.actions)

    assert actions('reloaded') == ['restart']
    assert actions('reloaded', RIGHT, RIGHT) == ['chmod', 'reload']
    assert actions('reloaded', credentials=(0, [0])) == ['reload']
    assert actions('reloaded', identity=None) == ['reload']
    assert actions('enabled') == []


@pytest.mark.parametrize(
    'identity, mode',
    [((5, GAMES), 'reload'), ((None, None), 'reload'), (None, 'reload'), ((6, GAMES), 'restart'), ((5, 33), 'restart'), ((None, 33), 'reload')],
)
def test_who_is_to_run_as_somebody_else_is_restarted_where_it_would_be_reloaded(identity, mode):
    situation = Situation('a', text=TEXT, link='right', pid=20, workers=[21], accepting=True, access=RIGHT, credentials=(5, [GAMES]))
    plan = make_plan(situation, 'reloaded')
    plan = settle_access(situation, plan, identity=identity)
    assert (list(plan.actions), plan.mode) == ([mode], mode)
    # and where nothing else would be done
    plan = settle_access(situation, make_plan(situation, 'enabled'), identity=identity)
    assert (list(plan.actions), plan.mode) == (([mode], mode) if mode == 'restart' else ([], None))
