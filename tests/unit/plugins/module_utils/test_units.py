# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _units
from ansible_collections.uwsgi.emperor.plugins.module_utils._drive import Job
from ansible_collections.uwsgi.emperor.plugins.module_utils._units import decide, name_of, unit_of
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Situation, make_plan


@pytest.mark.parametrize('name, unit', [('redmine', 'uwsgi@redmine.service'), ('a-b.c_d@e', 'uwsgi@a-b.c_d@e.service'), ('a+b', r'uwsgi@a\x2bb.service')])
def test_a_vassal_and_its_unit_know_each_other(name, unit):
    assert unit_of(name) == unit
    assert name_of(unit) == name
    assert name_of(unit[len('uwsgi@') : -len('.service')]) == name


# One vassal: in which of linked, enabled, agreed, up, down, crashing it is; its unit; the acts; whether it is agreed on then.
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
    ('enabled agreed', 'failed', 'disable', False),
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
    assert decide(*(arguments + [dict(a=state)])) == ([(act, 'a') for act in acts.split()], set(['a']) if agreed else set())


@pytest.mark.parametrize('state', ['activating', 'deactivating', 'reloading'])
@pytest.mark.parametrize('sets', sorted(set(one[0] for one in SITUATIONS)))
def test_while_its_unit_is_at_work_a_vassal_is_left_alone(sets, state):
    arguments = [set(['a']) if kind in sets.split() else set() for kind in ('linked', 'enabled', 'agreed', 'up', 'down', 'crashing')]
    assert decide(*(arguments + [dict(a=state)])) == ([], arguments[2])


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


class FakeHost(object):
    """A host on which a run of the module is at work, or none."""

    def __init__(self, busy):
        self.busy = lambda: busy


def test_a_run_of_the_module_that_takes_long_is_not_waited_for(monkeypatch):
    watcher = _units.Watcher(FakeHost(busy=True))
    watcher.agreed = set(['up', 'gone'])
    units = ['uwsgi@up.service', 'uwsgi@gone.service']
    states = dict(up='inactive', gone='active')
    told = []

    def act(acts):
        told.append(' '.join(act for act, name in acts))
        if ('disable', 'gone') in acts:
            units.pop()
            states.pop('gone')

    monkeypatch.setattr(watcher, 'look', lambda: (set(['up']), set(['up']), set(), set()))
    monkeypatch.setattr(watcher, 'states', lambda: dict(states))
    monkeypatch.setattr(watcher, 'act', act)
    monkeypatch.setattr(_units, '_entries', lambda directory: units)
    monkeypatch.setattr(_units, '_write_lines', lambda path, lines: None)
    for dummy in range(_units.RISES):
        watcher.tick()
    assert told == [''] * (_units.FALLS - 1) + ['disable forget'] + [''] * (_units.RISES - _units.FALLS - 1) + ['notice']


def test_without_the_emperor_all_units_stop_though_systemd_removes_the_marks_at_the_same_time(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(_units, 'MARKS', str(tmp_path / 'marks'))
    monkeypatch.setattr(_units, 'AGREED', str(tmp_path / 'agreed'))
    _units.mark('stone', True)
    listdir = os.listdir
    monkeypatch.setattr(os, 'listdir', lambda path: listdir(path) + ['gone'])
    monkeypatch.setattr(_units.Watcher, 'states', staticmethod(lambda: dict(stone='active', hello='inactive')))
    monkeypatch.setattr(_units, 'run_command', commands.append)
    _units.Watcher(FakeHost(busy=False)).end()
    assert commands == [['systemctl', 'stop', '--no-block', 'uwsgi@stone.service']]
    assert not os.path.exists(_units.MARKS)


@pytest.mark.parametrize(
    'age, workers, starts',
    [(1, [], True), (0, [], True), (25, [], False), (None, [], False), (25, [0, 9], True), (25, [9, 9], False), (3, [2], False), (3, [None], True)],
    ids=['loads', 'has just begun', 'has no workers', 'is gone', 'one is young', 'runs', 'runs since a moment ago', 'its worker is gone'],
)
def test_a_vassal_starts_until_its_workers_are_out_of_their_first_instants(monkeypatch, age, workers, starts):
    ages = dict(enumerate([age] + workers))
    monkeypatch.setattr(_units._emperor, 'age', ages.get)
    monkeypatch.setattr(_units._emperor, 'children', lambda pid: sorted(set(ages) - set([pid])))
    assert _units.starting(0) is starts


def test_a_start_that_somebody_waits_for_is_not_done_anew(monkeypatch):
    """Down for many looks while its unit starts it, a vassal is not down the moment the unit is active."""
    watcher = _units.Watcher(FakeHost(busy=False))
    told = []
    down = {}

    def look():
        down['a'] = watcher._down_for['a'] = watcher._down_for.get('a', 0) + 1
        names = set(['a'])
        return names, set(), set(name for name, looks in down.items() if looks >= _units.LOOKS), set()

    states = iter(['activating'] * 5 + ['active'])
    monkeypatch.setattr(watcher, 'look', look)
    monkeypatch.setattr(watcher, 'states', lambda: dict(a=next(states)))
    monkeypatch.setattr(watcher, 'act', told.extend)
    monkeypatch.setattr(_units, '_entries', lambda directory: ['uwsgi@a.service'])
    monkeypatch.setattr(_units, '_write_lines', lambda path, lines: None)
    for dummy in range(6):
        watcher.tick()
    assert told == []


@pytest.mark.parametrize('asked, old, links', [(False, False, True), (True, False, False), (True, True, True)], ids=['user', 'watcher', 'long ago'])
def test_a_vassal_that_was_disabled_is_not_enabled_by_the_watchers_question(monkeypatch, tmp_path, asked, old, links):
    monkeypatch.setattr(_units, 'MARKS', str(tmp_path / 'marks'))
    monkeypatch.setattr(_units, 'WANTS', str(tmp_path / 'wants'))
    monkeypatch.setattr(_units, 'run_command', lambda argv: (0, '', ''))
    did = []
    # a host without the link, whose situation is asked for twice: before and after the lock
    job = Job(Situation('a', text=b''), make_plan(Situation('a', text=b''), 'enabled'))
    host = FakeHost(busy=False)
    host.emperor = 1
    host.lock = lambda timeout, tell: os.open(str(tmp_path), os.O_RDONLY)
    host.enabled = lambda: {}
    monkeypatch.setattr(_units, 'find_host', lambda run_command, params: host)
    monkeypatch.setattr(_units, 'plan', lambda host, name, state: job)

    def bring_about(host, jobs, timeout):
        did.extend(jobs[0].plan.actions)
        jobs[0].after = Situation('a', text=b'', link='right', pid=7, accepting=True)

    monkeypatch.setattr(_units, 'bring_about', bring_about)
    if asked:
        _units.ask('a')
        if old:
            os.utime(str(tmp_path / 'marks' / 'uwsgi@a.service.asked'), (1, 1))
    assert _units.verb('start', 'a') == 0
    assert did == (['link', 'start'] if links else [])
    # and it holds but once
    del did[:]
    assert _units.verb('start', 'a') == 0
    assert did == ['link', 'start']
