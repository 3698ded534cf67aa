# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import signal

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _drive, _emperor
from ansible_collections.uwsgi.emperor.plugins.module_utils._emperor import View
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Situation, make_plan

TEXT = b'[uwsgi]\nworkers = 2\n'


class FakeHost(object):
    """An Emperor of one vassal, a.ini. `life` says at which second which (pid, workers, accepting) is there."""

    def __init__(self, life, hook='', mtime=100):
        self.life = life
        self.hook = hook
        self.now = 0.0
        self.did = []
        self._mtime = mtime
        self.flaw = None

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def present(self):
        return [state for second, state in self.life if second <= self.now][-1]

    def look(self):
        pid = self.present()[0]
        return View({'a.ini': pid} if pid else {}, None, {})

    def accepts(self, filename, pid, view, asked=False):
        return self.present()[2]

    def situation(self, name, view):
        pid, workers, accepting = self.present()
        return Situation(name, pid=pid, workers=workers, accepting=accepting)

    def options(self, filename, names):
        return {'hook-master-start': self.hook}

    def signal_vassal(self, filename, pid, number):
        self.did.append((pid, number))

    def write(self, filename, text, mtime):
        self.did.append(('write', mtime))

    def mtime(self, filename):
        return self._mtime

    def defect(self, filename, offset):
        return self.flaw

    def log_size(self, filename):
        return 0

    def forget(self, filename):
        pass

    def forgive(self):
        self.did.append('forgive')

    def link(self, filename):
        self.did.append('link')

    def unlink(self, filename):
        self.did.append('unlink')


@pytest.fixture(autouse=True)
def processes(monkeypatch):
    def follow(host):
        monkeypatch.setattr(_emperor, 'children', lambda pid: host.present()[1])

    monkeypatch.setattr(_emperor, 'age', lambda pid: 100.0)
    return follow


def run(host, processes, situation, state, text=None, timeout=60):
    processes(host)
    job = _drive.Job(situation, make_plan(situation, state, text), text)
    _drive.drive(host, [job], timeout, clock=host.clock, sleep=host.sleep)
    return job


UP = dict(text=TEXT, link='right', pid=10, workers=[11], accepting=True, mtime=50.0)


def test_a_start_is_done_when_the_vassal_accepts(processes):
    host = FakeHost([(0, (None, [], False)), (0.1, (20, [], False)), (0.5, (20, [21], False)), (1.0, (20, [21], True))])
    job = run(host, processes, Situation('a', text=TEXT), 'enabled')
    assert job.failure is None and 1.0 <= job.elapsed < 1.1 and 'link' in host.did


def test_a_vassal_that_never_accepts_fails_at_the_timeout_with_what_was_seen_last(processes):
    host = FakeHost([(0, (20, [21], False))])
    job = run(host, processes, Situation('a', text=TEXT), 'enabled', timeout=5)
    assert job.failure == 'after 5 s: process 20 does not accept requests yet'


def test_a_crash_loop_is_told_before_the_timeout(processes):
    life = [(0, (None, [], False))]
    for attempt in range(20):
        life += [(attempt + 0.1, (20 + attempt, [], False)), (attempt + 0.3, (None, [], False))]
    job = run(FakeHost(life), processes, Situation('a', text=TEXT), 'enabled')
    assert job.failure == 'it dies as soon as it is started' and job.elapsed < 4


def test_a_vassal_that_the_emperor_throttles_is_told_before_the_timeout(processes):
    job = run(FakeHost([(0, (None, [], False))]), processes, Situation('a', text=TEXT), 'enabled')
    assert job.failure == 'it dies as soon as it is started' and job.elapsed < 4


@pytest.mark.parametrize('hook, number', [('', signal.SIGINT), ('unix_signal:15 gracefully_kill_them_all', signal.SIGTERM)])
def test_a_restart_is_done_when_another_process_accepts(processes, hook, number):
    host = FakeHost([(0, (10, [11], True)), (1.0, (None, [], False)), (1.1, (20, [21], False)), (1.2, (20, [21], True))], hook)
    job = run(host, processes, Situation('a', **UP), 'restarted')
    assert job.failure is None and 1.2 <= job.elapsed < 1.3
    assert (10, number) in host.did and len([one for one in host.did if one != 'forgive']) == 1


def test_a_reload_is_done_when_no_old_worker_is_left(processes):
    host = FakeHost([(0, (10, [11], True)), (1.0, (10, [], True)), (1.5, (10, [12], True))])
    job = run(host, processes, Situation('a', **UP), 'reloaded')
    assert job.failure is None and 1.5 <= job.elapsed < 1.6 and host.did == [(10, signal.SIGHUP)]


def test_a_written_file_is_left_to_the_emperor_and_asked_for_if_it_does_not_see_it(processes):
    host = FakeHost([(0, (10, [11], True)), (3.0, (10, [12], True))])
    job = run(host, processes, Situation('a', **UP), 'enabled', b'[uwsgi]\nworkers = 3\n')
    assert job.failure is None and host.did[0][0] == 'write' and host.did[1:] == [(10, signal.SIGHUP)]


def test_a_file_of_a_vassal_that_is_restarted_keeps_its_time(processes):
    host = FakeHost([(0, (10, [11], True)), (1.0, (20, [21], True))])
    run(host, processes, Situation('a', **UP), 'enabled', b'[uwsgi]\nuid = nobody\n')
    assert ('write', 50.0) in host.did


def test_a_stop_is_done_when_no_process_is_left(processes):
    host = FakeHost([(0, (10, [11], True)), (2.0, (None, [], False))])
    job = run(host, processes, Situation('a', **UP), 'disabled')
    assert job.failure is None and 2.0 <= job.elapsed < 2.1 and host.did == ['unlink']


def test_an_open_socket_without_an_application_fails(processes):
    host = FakeHost([(0, (20, [21], True))])
    host.flaw = 'unable to load app 0'
    job = run(host, processes, Situation('a', text=TEXT), 'enabled')
    assert 'has not loaded its application: unable to load app 0' in job.failure


def test_what_just_started_is_given_time_to_settle(processes, monkeypatch):
    monkeypatch.setattr(_emperor, 'age', lambda pid: 0.1)
    host = FakeHost([(0, (10, [11], True)), (1.0, (20, [21], True))])
    run(host, processes, Situation('a', **UP), 'restarted')
    assert host.now >= 1.0 and host.did[0] == (10, signal.SIGINT)
