# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import signal

import pytest
from ansible.module_utils.common.text.converters import to_native
from ansible_collections.uwsgi.emperor.plugins.module_utils import _execute, _job, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._emperor import Emperor
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import Snapshot
from ansible_collections.uwsgi.emperor.plugins.module_utils._sockets import PING, Connection
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Plan, Situation, VassalError, make_plan
from ansible_collections.uwsgi.emperor.plugins.module_utils._wanted import Probe

TEXT = b'[uwsgi]\nworkers = 2\n'


class FakeConnection(object):
    """A connection to a vassal that takes it, or has a problem; its answer is a status."""

    address = '/run/uwsgi/a.socket'

    def __init__(self, taken, problem=None, status=None, connected=True):
        self.taken = taken
        self.foreign = bool(problem)
        self.connected = connected
        self.problem = problem
        self.status = status
        self.over = False

    def poll(self):
        self.over = self.taken() or bool(self.problem)
        return self.over

    state = Connection.state

    def close(self):
        """As a connection."""


class FakeHost(object):
    """An Emperor of one vassal, a.ini. `life` says at which second which (pid, workers, accepting) is there."""

    def __init__(self, life, graceful=False, mtime=100, **options):
        self.life = life
        self.graceful = graceful
        self.now = 0.0
        self.did = []
        self._mtime = mtime
        self._options = dict((key.replace('_', '-'), value) for key, value in options.items())
        self.others = 0  # how many further vassals the Emperor starts, one each second
        self.attempts = 0  # by the Emperor's blacklist, which no pardon clears
        self.pong = 0.0  # when it answers a ping
        self.missing = None
        self.ending = False  # whether its master takes itself for ending
        self.problem = None
        self.connected = True
        self.knocks = 0
        self.looks = []
        self.statuses = []
        self.stuck = None  # why its link can't be removed
        self.unborn = False  # whether the Emperor has not heard of it yet
        self.masked = False  # whether its process calls itself what its Emperor is called
        self.left = None  # what is said of a process that it leaves behind
        self.leaving = 0.0  # till when others than its master are still there
        self.on_demand = None  # the socket on which the Emperor waits where no process runs

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def present(self):
        return [state for second, state in self.life if second <= self.now][-1]

    sees_changes = True
    ends_at_once = True
    mends_socket = 'restart it'
    # it is its own parts
    supervisor = files = configurations = property(lambda self: self)

    def start(self, filename):
        """As an Emperor does."""

    def note_user(self, situation):
        """It runs as whom it ran."""

    def leave_log(self, situation):
        """It runs as whom it ran."""

    def clear_own_dir(self, filename):
        """Nobody has left anything."""

    def stop_gracefully(self, filename, pid, again):
        self.signal_vassal(pid, signal.SIGTERM)

    def snapshot(self):
        self.looks.append(self.now)
        pid = self.present()[0]
        pids = dict(('b%d.ini' % number, 100 + number) for number in range(self.others) if number < self.now)
        pids.update({'a.ini': pid} if pid else {})
        waiting = {'a.ini': self.on_demand} if self.on_demand and not pid else {}
        if self.unborn:
            return Snapshot(pids, {'a.ini': {'accepting': 0, 'last_accepting': 0}}, {}, waiting)
        return Snapshot(pids, None, {'a.ini': self.attempts} if self.attempts else {}, waiting)

    def close_socket(self, path):
        return self.left

    def leaves(self, filename, since):
        self.ended_for = since
        return self.now < self.leaving

    def knock(self, address):
        self.did.append(('knock', address))
        self.life = [(0, (None, [], False)), (self.now + 0.2, (20, [21], True))]

    def connect(self, filename, pid, message=None):
        if message is None:
            self.knocks += 1
            return FakeConnection(lambda: self.present()[2], self.problem, connected=self.connected)
        if message == PING:
            self.did.append('ping')
            return FakeConnection(lambda: self.now >= self.pong)
        self.did.append('probe')
        return FakeConnection(lambda: True, status=self.statuses.pop(0) if self.statuses else 500)

    def situations(self, names, view):
        pid, workers, accepting = self.present()
        return [Situation(name, pid=pid, workers=workers, accepting=accepting) for name in names]

    def options(self, filename):
        return self._options

    def masterless(self, filename):
        return self._options.get('master') == 'false'

    def asleep(self, filename, pid):
        return False

    def takes_itself_for_ending(self, filename):
        return self.ending

    def signal_vassal(self, pid, number):
        self.did.append((pid, number))

    def disguised(self, pid):
        return self.masked

    def send_hangup(self, filename, pid):
        self.did.append((pid, signal.SIGHUP))

    def signal_workers(self, pid, workers, number):
        self.did.append(('kill' if number == signal.SIGKILL else number, pid, sorted(workers)))

    def tell_fifo(self, filename, pid, command):
        self.did.append(('fifo', pid, command))

    def note_change(self, filename, mode, pids):
        self.noted = mode, sorted(pids)

    def note_loaded(self, situation, seconds):
        self.loaded_ago = seconds

    def forget(self, filename):
        self.noted = None

    def write(self, filename, text, mtime, access=None):
        self.did.append(('write', mtime))

    def mtime(self, filename):
        return self._mtime

    def opened(self, path, access):
        return '%s %s' % (path, access) if access[1] else None

    def flaw(self, filename, offset, pid):
        return self.missing and 'has not loaded its application: %s' % self.missing

    def log_size(self, filename):
        return 0

    throttled = Emperor.__dict__['throttled']

    def clear_blacklist(self):
        self.did.append('forgive')

    def link(self, filename):
        self.did.append('link')

    def unlink(self, filename):
        self.did.append('unlink')

    def refuse_unlink(self, filename):
        if self.stuck:
            raise VassalError(self.stuck)

    def end(self, filename, pid, again):
        self.signal_vassal(pid, signal.SIGINT)

    def acts(self):
        return [one for one in self.did if one not in ('forgive', 'ping')]


@pytest.fixture(autouse=True)
def processes(monkeypatch):
    def follow(host):
        monkeypatch.setattr(_processes, 'workers', lambda pid: host.present()[1])
        monkeypatch.setattr(_processes, 'process', lambda pid: (1, 1) if pid == host.present()[0] else None)

    monkeypatch.setattr(_processes, 'age', lambda pid: 100.0)
    return follow


def run(host, processes, situation, state, text=None, timeout=60, wait=True, **options):
    processes(host)
    job = _job.Job(situation, make_plan(situation, state, text), text, **options)
    _execute.run_jobs(host, [job], timeout, wait, clock=host.clock, sleep=host.sleep)
    return job


GRACEFUL = 'unix_signal:15 gracefully_kill_them_all'
DEAF = dict(text=TEXT, link='right', pid=10, workers=[11], mtime=50.0)
UP = dict(DEAF, accepting=True)


def test_a_start_is_done_when_the_vassal_accepts(processes):
    host = FakeHost([(0, (None, [], False)), (0.1, (20, [], False)), (0.5, (20, [21], False)), (1.0, (20, [21], True))])
    job = run(host, processes, Situation('a', text=TEXT), 'enabled')
    assert job.failure is None and 1.0 <= job.elapsed < 1.1 and 'link' in host.did


def test_what_has_come_up_since_is_told_from_what_ran_before(processes):
    up = [(0, (10, [11], True))]
    assert run(FakeHost(up), processes, Situation('a', text=TEXT), 'enabled').rose
    assert run(FakeHost(up), processes, Situation('a', **DEAF), 'enabled').rose
    assert not run(FakeHost(up), processes, Situation('a', **UP), 'enabled').rose
    # its link went, which the watcher may have seen
    unlinked = Situation('a', text=TEXT, pid=10, workers=[11], mtime=50.0, accepting=True)
    assert run(FakeHost(up), processes, unlinked, 'enabled').rose
    assert not run(FakeHost([(0, (10, [11], False))]), processes, Situation('a', text=TEXT), 'enabled', wait=False).rose
    assert not _job.Job(Situation('a', text=TEXT), make_plan(Situation('a', text=TEXT), 'enabled')).rose


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


@pytest.mark.parametrize('state', ['restarted', 'reloaded', 'enabled'])
def test_a_vassal_whose_emperor_dies_is_not_taken_for_dying(processes, state):
    # its Emperor dies three times, and is away for longer than one delays a vassal
    gone = (None, [], False)
    host = FakeHost([(0, (10, [11], True)), (1, gone), (6, (20, [], False)), (7, gone), (8, (30, [], False)), (9, gone), (10, (40, [41], True))])
    look = host.snapshot

    def orphaned():
        view = look()
        view.emperor = view.pids.get('a.ini') if host.now >= 1 else 10
        view.lost = view.emperor is None
        return view

    host.snapshot = orphaned
    situation = Situation('a', **UP) if state != 'enabled' else Situation('a', text=TEXT)
    if state == 'enabled':
        host.life[0] = (0, (None, [], False))
    job = run(host, processes, situation, state)
    assert job.failure is None and job.elapsed >= (10 if state != 'reloaded' else 1)
    host.life[2:] = []
    host.now = 0.0
    job = run(host, processes, situation, state, timeout=5)
    assert job.failure == 'after 5 s: the Emperor has ended, and another one does not run yet'


def test_a_vassal_that_the_emperor_throttles_is_told_before_the_timeout(processes):
    job = run(FakeHost([(0, (None, [], False))]), processes, Situation('a', text=TEXT), 'enabled')
    assert job.failure == 'it dies as soon as it is started' and job.elapsed < 4


def test_a_vassal_that_the_emperor_starts_on_demand_is_asked_for_once(processes):
    host = FakeHost([(0, (None, [], False))])
    host.on_demand = '/run/uwsgi/a.socket'
    job = run(host, processes, Situation('a', text=TEXT, link='right'), 'enabled')
    assert job.failure is None and job.after.pid == 20
    assert [act for act in host.did if act[0] == 'knock'] == [('knock', '/run/uwsgi/a.socket')]


def test_a_vassal_that_was_throttled_before_is_forgiven_and_given_its_time(processes):
    host = FakeHost([(0, (None, [], False)), (1, (10, [11], True))])
    entries = {'accepting': 1, 'last_mod': 1}
    host.snapshot = lambda: Snapshot({'a.ini': 10}, {'a.ini': entries}, {}) if 'forgive' in host.did and host.now >= 1 else Snapshot({}, {}, {'a.ini': 7})
    job = run(host, processes, Situation('a', text=TEXT, link='right'), 'enabled')
    assert job.failure is None
    assert host.did == ['forgive']


@pytest.mark.parametrize('state', ['restarted', 'disabled'])
def test_a_vassal_that_has_answered_nothing_is_spared_before_its_end(processes, state):
    life = [(0, (10, [11], True)), (1.0, (None, [], False))] + ([(1.1, (20, [21], True))] if state == 'restarted' else [])
    # without stats nobody tells whether it is listed; this Emperor's list is not cleared, or it is
    stats = {'a.ini': {'accepting': 1, 'last_mod': 1}}
    for entries, cleared, pong, did in (
        (None, False, 0.1, ['forgive', 'ping']),
        (stats, False, 0.1, ['forgive', 'ping']),
        (stats, False, 9.0, ['forgive', 'ping']),
        (stats, True, 0.1, ['forgive']),
    ):
        host = FakeHost(life, hook_master_start=GRACEFUL)
        host.pong = pong
        look = host.snapshot

        def with_list(host=host, look=look, entries=entries, cleared=cleared):
            return Snapshot(look().pids, entries, {} if cleared and 'forgive' in host.did else {'a.ini': 0})

        host.snapshot = with_list
        job = run(host, processes, Situation('a', **UP), state)
        assert job.failure is None and job.elapsed < 1.5
        assert host.did[: len(did) + 1] == did + [(10, signal.SIGTERM)]


def test_a_vassal_whose_former_deaths_the_emperor_does_not_forgive_is_waited_for(processes):
    host = FakeHost([(0, (10, [11], True)), (1.0, (None, [], False)), (6.0, (20, [21], True))])
    host.attempts = 5
    job = run(host, processes, Situation('a', **UP), 'restarted')
    assert job.failure is None and job.elapsed >= 6.0


def test_a_vassal_is_waited_for_while_the_emperor_starts_others(processes):
    host = FakeHost([(0, (None, [], False)), (20.0, (20, [21], True))])
    host.others = 20
    job = run(host, processes, Situation('a', text=TEXT), 'enabled')
    assert job.failure is None and job.elapsed >= 20.0
    host = FakeHost([(0, (None, [], False))])
    host.others = 5
    job = run(host, processes, Situation('a', text=TEXT), 'enabled')
    assert job.failure == 'it dies as soon as it is started' and 7.0 < job.elapsed < 9.0


def test_the_emperor_is_woken_at_the_moment_in_which_a_master_has_ended(processes):
    for ended in 1.003, 1.011, 1.019:
        host = FakeHost([(0, (10, [11], True)), (ended, (None, [], False)), (1.1, (20, [21], True))], hook_master_start=GRACEFUL)
        job = run(host, processes, Situation('a', **UP), 'restarted')
        assert job.failure is None
        assert min(look for look in host.looks if look >= ended) - ended < 0.002


def test_a_restart_with_the_hook_is_one_graceful_signal(processes):
    host = FakeHost([(0, (10, [11], True)), (1.0, (None, [], False)), (1.1, (20, [21], False)), (1.2, (20, [21], True))], hook_master_start=GRACEFUL)
    job = run(host, processes, Situation('a', **UP), 'restarted')
    assert job.failure is None and 1.2 <= job.elapsed < 1.3
    assert host.acts() == [(10, signal.SIGTERM)] and job.actions == ['restart']


def test_a_restart_that_another_run_waits_for_is_done_when_the_new_process_is_there(processes):
    host = FakeHost([(0, (10, [11], True)), (1.0, (None, [], False)), (1.1, (20, [], False)), (5.0, (20, [21], True))], hook_master_start=GRACEFUL)
    host.situations = lambda names, view: pytest.fail('there is no time to look')
    processes(host)
    job = _job.Job(Situation('a', **UP), make_plan(Situation('a', **UP), 'restarted'))
    job.begins_only = True
    _execute.run_jobs(host, [job], 60, clock=host.clock, sleep=host.sleep)
    assert job.failure is None and 1.1 <= job.elapsed < 1.5 and (job.after.pid, job.after.accepting) == (20, False)


@pytest.mark.parametrize('accepts', [True, False])
def test_a_restart_that_another_run_has_begun_is_judged_by_all_that_was_logged_since(processes, accepts):
    host = FakeHost([(0, (20, [21], accepts)), (2.0, (20, [21], True))])
    asked = []
    host.flaw = lambda filename, offset, pid: asked.append((offset, pid)) or 'has not loaded its application: unable to load app 0'
    host.clear_own_dir = host.leave_log = lambda one: pytest.fail('its process runs already')
    processes(host)
    job = _job.Job(Situation('a', text=TEXT, link='right', pid=20, workers=[21], mtime=50.0, accepting=accepts), Plan(['restart'], 'start', wants_up=True))
    job.resumes = 4711, 1234567890
    _execute.run_jobs(host, [job], 60, clock=host.clock, sleep=host.sleep)
    assert asked == [(4711, 20)] and 'has not loaded its application' in job.failure and job.began == 1234567890


def test_a_restart_without_the_hook_lets_a_reload_end_the_requests_first(processes):
    host = FakeHost([(0, (10, [11], True)), (3.0, (10, [12], True)), (3.2, (None, [], False)), (3.3, (20, [21], True))])
    job = run(host, processes, Situation('a', **UP), 'restarted')
    assert job.failure is None and job.elapsed >= 3.3
    assert host.acts() == [(10, signal.SIGHUP), (10, signal.SIGINT)]


@pytest.mark.parametrize('state, did', [('restarted', []), ('disabled', ['unlink'])])
@pytest.mark.parametrize('option', ['cron', 'smart_attach_daemon', 'attach_daemon2'])
def test_a_master_with_a_daemon_ends_once_its_workers_are_gone(processes, state, did, option):
    """Asked to end gracefully it would wait for the daemon, too."""
    life = [(0, (10, [11], True)), (3.0, (10, [12], True)), (3.2, (None, [], False))] + [(3.3, (20, [21], True))] * (state == 'restarted')
    for options in dict(hook_master_start=GRACEFUL), dict(graceful=True):
        options[option] = 'x'
        host = FakeHost(life, **options)
        job = run(host, processes, Situation('a', **UP), state)
        assert job.failure is None and job.elapsed < 4 and not job.warnings
        assert host.acts() == [(10, signal.SIGHUP)] + did + [(10, signal.SIGINT)]
    # whose end is a graceful one
    host = FakeHost(life, **dict({option: 'x'}, hook_master_start=GRACEFUL))
    host.ends_at_once = False
    assert run(host, processes, Situation('a', **UP), state).failure is None and (10, signal.SIGHUP) not in host.acts()


def test_a_stop_that_a_master_or_its_new_workers_missed_is_asked_for_again(processes):
    host = FakeHost([(0, (10, [11], True)), (1.0, (10, [12], True)), (4.0, (None, [], False)), (4.1, (20, [21], True))])
    assert run(host, processes, Situation('a', **UP), 'restarted').failure is None
    assert host.acts() == [(10, signal.SIGHUP), (10, signal.SIGINT), (10, signal.SIGINT), ('kill', 10, [12])]


def test_a_restart_without_waiting_is_one_signal(processes):
    host = FakeHost([(0, (10, [11], True))])
    assert run(host, processes, Situation('a', **UP), 'restarted', wait=False).failure is None
    assert host.acts() == [(10, signal.SIGINT)]


@pytest.mark.parametrize('options', [{}, {'hook_master_start': GRACEFUL}], ids=['draining', 'hook'])
def test_requests_that_do_not_end_are_killed_at_the_timeout_and_that_is_reported(processes, options):
    host = FakeHost([(0, (10, [11], True)), (5.5, (None, [], False)), (5.6, (20, [21], True))], **options)
    job = run(host, processes, Situation('a', **UP), 'restarted', timeout=5)
    assert job.failure is None and ('kill', 10, [11]) in host.did
    assert job.actions == ['restart', 'kill'] and 'had not ended after 5 s' in job.warnings[0]


@pytest.mark.parametrize('state', ['restarted', 'disabled'])
def test_of_a_master_that_is_taken_for_an_emperor_no_death_is_claimed(processes, state):
    host = FakeHost([(0, (10, [11], True))], hook_master_start=GRACEFUL)
    host.masked = True
    job = run(host, processes, Situation('a', **UP), state, timeout=5)
    assert 'process 10 calls itself' in job.failure and 'kill -KILL 10' in job.failure
    assert 'kill' not in job.actions and job.warnings == []


def test_a_master_that_outlives_its_killed_workers_is_killed(processes):
    host = FakeHost([(0, (10, [11], True)), (9.0, (None, [], False)), (9.1, (20, [21], True))], hook_master_start=GRACEFUL)
    assert run(host, processes, Situation('a', **UP), 'restarted', timeout=5).failure is None
    assert host.acts()[-1] == (10, signal.SIGKILL)


def test_a_reload_is_done_when_no_old_worker_is_left(processes):
    host = FakeHost([(0, (10, [11], True)), (1.0, (10, [], False)), (1.5, (10, [12], True))])
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


@pytest.mark.parametrize('text, noted', [(b'[uwsgi]\nuid = nobody\n', ('restart', [10])), (b'[uwsgi]\nworkers = 3\n', ('reload', [11]))])
def test_who_runs_the_former_file_is_noted_before_it_changes_and_forgotten_when_nobody_does(processes, text, noted):
    life = [(0, (10, [11], True)), (1.0, (20, [21], True) if noted[0] == 'restart' else (10, [12], True))]
    host, seen = FakeHost(life), []
    host.write = lambda filename, text, mtime, access: seen.append(host.noted)
    assert run(host, processes, Situation('a', **UP), 'enabled', text).failure is None
    assert seen == [noted] and host.noted is None


@pytest.mark.parametrize('path', [None, '/etc/uwsgi/apps-available/.a.ini.new'])
def test_a_file_that_can_not_be_written_changes_nothing(processes, path):
    def full(filename, text, mtime, access):
        raise OSError(28, 'No space left on device', path)

    host = FakeHost([(0, (10, [11], True))])
    host.write = full
    job = run(host, processes, Situation('a', **UP), 'enabled', b'[uwsgi]\nuid = nobody\n')
    assert job.actions == []
    assert job.explained == 'a: its files could not be changed: %sNo space left on device. Nothing of it was changed.' % (path + ': ' if path else '')
    assert host.acts() == []


def test_what_a_previous_user_left_and_keeps_making_fails_the_vassal_alone(processes):
    def busy(filename):
        raise VassalError('/run/uwsgi/app/a can not be removed.')

    host = FakeHost([(0, (None, [], False))])
    host.clear_own_dir = busy
    assert run(host, processes, Situation('a', text=TEXT), 'enabled').failure == '/run/uwsgi/app/a can not be removed'


@pytest.mark.parametrize(
    'host, did',
    [
        (dict(hook_master_start=GRACEFUL), [(10, signal.SIGTERM), 'unlink']),
        (dict(graceful=True), ['unlink']),
        (dict(), [(10, signal.SIGHUP), 'unlink', (10, signal.SIGINT)]),
        (dict(master='false'), [(10, signal.SIGHUP), 'unlink']),
    ],
    ids=['hook', 'graceful-emperor', 'draining', 'masterless'],
)
def test_a_stop_asks_before_it_unlinks_and_is_done_when_no_process_is_left(processes, host, did):
    host = FakeHost([(0, (10, [11], True)), (1.0, (10, [], False)), (2.0, (None, [], False))], **host)
    job = run(host, processes, Situation('a', **UP), 'disabled')
    assert job.failure is None and 2.0 <= job.elapsed < 2.1 and host.acts() == did


def test_what_a_stopped_vassal_leaves_behind_is_told(processes):
    host = FakeHost([(0, (10, [11], True)), (1.0, (None, [], False))])
    host.left = 'somebody still listens'
    job = run(host, processes, Situation('a', **UP), 'disabled')
    assert job.fell and not job.rose
    assert job.failure is None and job.warnings == ['a: somebody still listens.']


@pytest.mark.parametrize('leaving, failure', [(3.0, None), (900.0, 'processes of it still run')])
def test_a_stop_is_done_when_what_its_master_leaves_behind_is_gone_where_that_is_ended(processes, leaving, failure):
    host = FakeHost([(0, (10, [11], True)), (1.0, (None, [], False))])
    host.leaving = leaving
    job = run(host, processes, Situation('a', **UP), 'disabled')
    assert (job.failure or '').endswith(failure or '') and job.elapsed >= min(leaving, 10)
    assert host.ended_for == pytest.approx(host.now - 1.0, abs=0.1), host.ended_for


@pytest.mark.parametrize('text', [b'', None])
@pytest.mark.parametrize('leaving, said', [(3.0, None), (900.0, 'after 60 s: processes of it still run; somebody still listens')])
def test_what_a_previous_run_saw_no_end_of_is_waited_for_and_cut_off(processes, leaving, said, text):
    host = FakeHost([(0, (None, [], False))])
    host.leaving, host.left = leaving, 'somebody still listens'
    job = run(host, processes, Situation('a', text=text, leaving=True), 'disabled')
    assert job.failure == said and job.warnings == ([] if said else ['a: somebody still listens.'])
    assert not job.nothing_to_do and not job.actions and job.fell is not bool(said)


def test_what_ends_by_itself_before_it_was_unlinked_is_unlinked(processes):
    host = FakeHost([(0, (10, [11], True)), (1.0, (20, [21], True)), (2.0, (None, [], False))])
    job = run(host, processes, Situation('a', **UP), 'disabled')
    assert job.failure is None and host.acts() == [(10, signal.SIGHUP), 'unlink']


def test_what_does_not_run_is_only_unlinked(processes):
    host = FakeHost([(0, (None, [], False))])
    job = run(host, processes, Situation('a', text=TEXT, link='right'), 'disabled')
    assert job.failure is None and host.acts() == ['unlink']


def test_a_chain_reload_is_told_to_the_fifo(processes):
    host = FakeHost([(0, (10, [11, 12], True)), (1.0, (10, [12, 13], True)), (2.0, (10, [13, 14], True))])
    found = Situation('a', text=TEXT, link='right', pid=10, workers=[11, 12], accepting=True, mtime=50.0)
    job = run(host, processes, found, 'reloaded', method='chain')
    assert job.failure is None and host.did == [('fifo', 10, b'c')] and job.elapsed >= 2.0


def test_a_chain_that_the_master_missed_is_asked_for_again(processes):
    host = FakeHost([(0, (10, [11, 12], True)), (2.5, (10, [12, 13], True)), (5.0, (10, [13, 14], True))])
    found = Situation('a', text=TEXT, link='right', pid=10, workers=[11, 12], accepting=True, mtime=50.0)
    job = run(host, processes, found, 'reloaded', method='chain')
    assert job.failure is None and host.did == [('fifo', 10, b'c')] * 2 and job.elapsed >= 5.0


def test_an_error_that_is_a_sentence_is_no_sentence_inside_of_another(processes):
    def forbidden(pid, number):
        raise VassalError('Process 10 can not be signalled: no; root is needed (become: true).')

    host = FakeHost([(0, (10, [11], True))])
    host.signal_vassal = forbidden
    job = run(host, processes, Situation('a', **UP), 'restarted')
    assert job.failure == 'Process 10 can not be signalled: no; root is needed (become: true)'


@pytest.mark.parametrize('error', [OSError(11, 'Resource temporarily unavailable'), VassalError('/run/fifo can not be written (no reader): restart it')])
def test_a_fifo_that_takes_nothing_is_told_as_that(processes, error):
    def full(filename, pid, command):
        raise error

    host = FakeHost([(0, (10, [11], True))], master_fifo='/run/fifo')
    host.tell_fifo = full
    job = run(host, processes, Situation('a', **UP), 'reloaded', method='chain')
    reason = 'Resource temporarily unavailable' if isinstance(error, OSError) else 'no reader'
    assert job.explained == 'a: /run/fifo can not be written (%s): restart it.' % reason


def test_a_link_that_can_not_be_removed_later_is_told_by_its_path(processes):
    def refuse(filename):
        raise OSError(30, 'Read-only file system', '/etc/uwsgi/apps-enabled/a.ini')

    host = FakeHost([(0, (10, [11], True))], hook_master_start=GRACEFUL)
    host.unlink = refuse
    job = run(host, processes, Situation('a', **UP), 'disabled')
    assert job.failure == '/etc/uwsgi/apps-enabled/a.ini: Read-only file system'


def test_a_brutal_reload_kills_the_workers(processes):
    host = FakeHost([(0, (10, [11], True)), (0.5, (10, [12], True))])
    job = run(host, processes, Situation('a', **UP), 'reloaded', method='brutal')
    assert job.failure is None and host.did == [(10, signal.SIGHUP), ('kill', 10, [11])]


def test_a_probe_is_sent_again_until_its_answer_is_right(processes):
    host = FakeHost([(0, (20, [21], True))])
    host.statuses = [503, 500, 200]
    job = run(host, processes, Situation('a', text=TEXT), 'enabled', probe=Probe(path='/', host='x', status=[200]))
    assert job.failure is None and host.did.count('probe') == 3 and job.elapsed >= 2 * _job.PROBE_AGAIN


@pytest.mark.parametrize('timeout', [3, 2.7])
def test_a_wrong_answer_to_the_probe_fails_at_the_timeout(processes, timeout):
    host = FakeHost([(0, (20, [21], True))])
    job = run(host, processes, Situation('a', text=TEXT), 'enabled', timeout=timeout, probe=Probe(path='/x', host='x', status=[200, 302]))
    assert job.failure == 'after %d s: the probe of /x got status 500, not 200 or 302' % timeout and host.did.count('probe') < 10


class Storyteller(object):
    """A host whose vassal's log says more than is text."""

    dying = None

    def explain_failure(self, filename, since, offset=0, dying=False):
        self.dying = dying
        return '/var/log/uwsgi/a.log', [to_native(u'Gr\xfc\xdfe'), 'a: all is well.'], 'a: all is well.'


def test_what_a_log_says_is_told_from_what_the_module_says():
    job = _job.Job(Situation(u'a', text=TEXT), make_plan(Situation(u'a', text=TEXT), 'enabled'))
    job.fail('it fails\x1b[31m\n')
    said = _execute.explain(Storyteller(), job).split('\n')
    assert said[0] == 'a: it did not come up: it fails\\x1b[31m\\x0a. /var/log/uwsgi/a.log gives the Reason: a: all is well.'
    assert [line for line in said[2:] if not line.startswith('  ')] == []


def told(host, processes, state='enabled', **found):
    job = run(host, processes, Situation('a', text=TEXT, **found), state)
    storyteller = Storyteller()
    _execute.explain(storyteller, job)
    return storyteller.dying


def test_only_of_what_was_not_started_an_older_failure_is_told(processes):
    host = FakeHost([(0, (None, [], False))])
    assert told(host, processes, link='right')
    host = FakeHost([(0, (None, [], False)), (1, (20, [], False)), (1.5, (None, [], False))])
    assert not told(host, processes, link='right')
    host = FakeHost([(0, (10, [], False)), (1, (None, [], False))])
    assert not told(host, processes, 'restarted', link='right', pid=10)
    # it dies between two looks, and the Emperor counts that
    host = FakeHost([(0, (None, [], False))])
    look = host.snapshot
    host.snapshot = lambda: Snapshot(look().pids, None, {'a.ini': int(host.now)})
    assert not told(host, processes, link='right')


@pytest.mark.parametrize('state, situation', [('enabled', UP), ('disabled', dict(text=TEXT))])
def test_what_is_as_it_should_be_is_not_looked_at_again(processes, state, situation):
    host = FakeHost([(0, (10, [11], True))])
    job = run(host, processes, Situation('a', **situation), state)
    assert (job.failure, job.after, host.looks) == (None, job.before, [])


def test_a_socket_that_is_not_its_own_is_told_before_the_timeout(processes):
    host = FakeHost([(0, (10, [11], False))])
    host.problem = 'process 99, which is not its own, listens on /run/uwsgi/a.socket'
    job = run(host, processes, Situation('a', **DEAF), 'enabled')
    assert 'process 99' in job.failure and 'restart it' in job.failure and job.elapsed < 10
    assert host.knocks < 20


def test_a_listener_with_a_full_queue_is_not_taken_for_the_vassal(processes):
    host = FakeHost([(0, (10, [11], False))])
    host.connected = False
    job = run(host, processes, Situation('a', **DEAF), 'enabled', timeout=3)
    assert job.failure == 'after 3 s: the queue of /run/uwsgi/a.socket is full'


def test_an_open_socket_without_an_application_fails(processes):
    host = FakeHost([(0, (20, [21], True))])
    host.missing = 'unable to load app 0'
    job = run(host, processes, Situation('a', text=TEXT), 'enabled')
    assert 'has not loaded its application: unable to load app 0' in job.failure


def test_what_just_started_is_given_time_to_settle(processes, monkeypatch):
    monkeypatch.setattr(_processes, 'age', lambda pid: 0.1)
    host = FakeHost([(0, (10, [11], True)), (1.0, (20, [21], True))])
    run(host, processes, Situation('a', **UP), 'restarted')
    assert host.now >= 1.0 and host.acts()[0] == (10, signal.SIGHUP)


@pytest.mark.parametrize('state', ['restarted', 'disabled'])
@pytest.mark.parametrize('options', [{}, dict(hook_master_start='unix_signal:15 gracefully_kill_them_all')], ids=['draining', 'hook'])
def test_the_workers_of_a_master_that_takes_itself_for_ending_are_asked_themselves(processes, state, options):
    after = (20, [21], True) if state == 'restarted' else (None, [], False)
    host = FakeHost([(0, (10, [11, 12], True)), (3.0, (None, [], False)), (3.3, after)], **options)
    host.ending = True
    found = dict((key, value) for key, value in UP.items() if key != 'workers')
    job = run(host, processes, Situation('a', workers=[11, 12], **found), state)
    assert job.failure is None and job.unplanned == [] and not job.warnings
    assert host.acts()[0] == (signal.SIGHUP, 10, [11, 12])


@pytest.mark.parametrize('state', ['restarted', 'disabled'])
def test_a_newborn_master_that_missed_its_stop_is_asked_again(processes, state):
    # it ignores SIGTERM until its hook is set, which is after its first worker
    host = FakeHost([(0, (10, [], False)), (1.0, (10, [11], True)), (2.5, (None, [], False)), (2.6, (20, [21], True))], hook_master_start=GRACEFUL)
    if state == 'disabled':
        host.life.pop()
    job = run(host, processes, Situation('a', text=TEXT, link='right', pid=10), state)
    assert job.failure is None and [act for act in host.acts() if act != 'unlink'] == [(10, signal.SIGINT)] * 2 + [('kill', 10, [11])]


def test_what_the_emperor_started_again_before_the_link_was_gone_is_not_waited_for(processes):
    host = FakeHost([(0, (10, [11], True)), (0.1, (20, [21], True)), (2.5, (20, [], False)), (2.6, (None, [], False))], hook_master_start=GRACEFUL)
    job = run(host, processes, Situation('a', **UP), 'disabled')
    assert job.failure is None and host.acts() == [(10, signal.SIGTERM), 'unlink', ('kill', 20, [21]), (20, signal.SIGINT)]


def test_a_master_that_makes_new_workers_and_misses_its_end_is_killed(processes):
    """As one that begins, or replaces itself, does: without it, its workers are killed in vain."""
    host = FakeHost([(0, (10, [11], True)), (0.1, (20, [], False)), (4.5, (None, [], False))], hook_master_start=GRACEFUL)
    job = run(host, processes, Situation('a', **UP), 'disabled', timeout=40)
    assert job.failure is None and job.elapsed < 5
    assert host.acts()[2:] == [('kill', 20, []), (20, signal.SIGINT), ('kill', 20, []), (20, signal.SIGKILL)]


@pytest.mark.parametrize('state', ['restarted', 'disabled'])
def test_a_newborn_master_without_workers_that_is_deaf_is_killed(processes, state):
    host = FakeHost([(0, (10, [], False)), (2.5, (None, [], False)), (2.6, (20, [21], True))], hook_master_start=GRACEFUL)
    if state == 'disabled':
        host.life.pop()
    job = run(host, processes, Situation('a', text=TEXT, link='right', pid=10), state)
    assert job.failure is None and [act for act in host.acts() if act != 'unlink'] == [(10, signal.SIGINT), (10, signal.SIGKILL), ('kill', 10, [])]


def test_workers_that_load_the_application_themselves_have_no_requests_to_finish(processes):
    host = FakeHost([(0, (10, [11], False)), (2.5, (None, [], False))], hook_master_start=GRACEFUL)
    host.unborn = True
    job = run(host, processes, Situation('a', **DEAF), 'disabled')
    assert job.failure is None and host.acts() == ['unlink', (10, signal.SIGINT), (10, signal.SIGINT), ('kill', 10, [11])]


@pytest.mark.parametrize('workers', [[], [11]])
def test_a_vassal_whose_link_can_not_be_removed_is_not_told_to_end(processes, workers):
    host = FakeHost([(0, (10, workers, True))], hook_master_start=GRACEFUL)
    host.stuck = 'it is stuck'
    job = run(host, processes, Situation('a', text=TEXT, link='right', pid=10, workers=workers, accepting=True), 'disabled')
    assert job.failure == 'it is stuck' and host.acts() == []


def test_a_link_that_can_not_be_removed_after_all_is_told(processes):
    host = FakeHost([(0, (10, [11], True))], hook_master_start=GRACEFUL)

    def unlink(filename):
        raise OSError(30, 'Read-only file system')

    host.unlink = unlink
    assert 'Read-only file system' in run(host, processes, Situation('a', **UP), 'disabled').failure
