# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""One vassal on its way: a job looks at its vassal and does what is next. A step never waits, so no vassal holds up another.

Job says what is done; how a master ends, how one reloads, and how one comes up are three state machines of their own. A long file, as their
many cases are measured habits of uWSGI's releases, and the four classes look into each other.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import signal
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _files, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._acceptance import QUEUED, REFUSED, UNASKED, accepts
from ansible_collections.uwsgi.emperor.plugins.module_utils._configuration import COMMANDS
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import usual_socket
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import visible
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Plan, VassalError

# All times are in seconds.
# The Emperor starts a vassal that dies at once, once more, and then throttles it: three deaths are a crash loop.
DEATHS = 3
DIES = 'it dies as soon as it is started'
# The Emperor throttles a vassal that it has not started for this long though it was woken all the time.
THROTTLED = 3.0
# How long a master has to take notice: after this long a reload that was left to the Emperor (it saw a newer file) is asked for by a signal, a
# stop that a master missed while it began or replaced itself is asked for again, and a master that outlives its killed workers is killed.
PATIENCE = 2.0
# Give up on a socket that is still missing, or still somebody else's, after this long.
SOCKETLESS = 5.0
# How long until a probe that got a wrong answer is sent again, as the application may still warm up, and until a socket of a stranger, or one
# on which the Emperor waits, is connected to again.
PROBE_AGAIN = 0.5


class Job(object):
    """One vassal on its way from a situation to what its plan wants."""

    def __init__(self, situation, plan, text=None, probe=None, method='graceful', restores=False, access=None, env=None, env_access=None):
        self.name = situation.name
        self.filename = situation.filename
        self.before = situation
        self.after = None
        self.plan = plan
        self.text = text
        self.probe = probe
        self.method = method
        self.restores = restores
        self.access = access  # that its file should have, None to leave it
        self.env = env  # the text of the file of its environment, which is secret; None or nothing removes it
        self.env_access = env_access
        self.failure = None
        self.explained = None
        self.warnings = []
        self.unplanned = []  # what was done beside the plan: 'kill', 'rollback'
        self.done = False
        self.elapsed = 0.0
        self.seen = 'it was not seen yet'
        self.begins_only = False  # whether another run waits for a restart's new process
        self.resumes = None  # the end of the log, and the time, at which a restart began that another run has left so
        self.log_offset = 0
        self.began = 0
        self.touched = False  # whether one of its files or links was changed
        self.started = 0.0
        self.deadline = 0.0
        self.pid = situation.pid  # as it was seen last
        self.born = False  # whether it was started since
        self.to_clear = False  # whether the supervisor is to clear its failures
        self._ending = Ending(self)
        self._reload = Reload(self)
        self._coming_up = ComingUp(self)

    def fail(self, message):
        # it becomes a part of a sentence
        self.failure = message.rstrip('.')
        self.done = True

    def refuse(self, message, explained):
        """Fails it before anything of it was changed, and nothing will be."""
        self.fail(message)
        self.explained = '%s: %s. Nothing of it was changed.' % (visible(self.name), explained)
        self.plan = Plan()

    @property
    def actions(self):
        """What was done, or would be, in order; the user reads it."""
        return list(self.plan.actions) + self.unplanned

    @property
    def nothing_to_do(self):
        """Whether the situation was the one that is wanted, and no probe is to tell more."""
        good = self.before.accepting if self.plan.wants_up else self.plan.wants_gone
        return bool(good and not (self.plan.changed or self.plan.mode or self.probe))

    @property
    def only_begins(self):
        """Whether it is a restart that is done as soon as the new process is there."""
        return self.begins_only and self.plan.mode == 'restart'

    @property
    def rose(self):
        """Whether it accepts requests now, and systemd may not know that."""
        return bool(self.after and self.after.accepting and ('link' in self.plan.actions or not self.before.accepting))

    @property
    def fell(self):
        """Whether it does not run any more, and systemd may not know that."""
        return bool((self.stops or self.before.leaving) and self.done and not self.failure)

    @property
    def stops(self):
        """Whether what runs is to end for good."""
        return self.plan.mode == 'stop' and self.before.pid is not None

    @property
    def to_write(self):
        return self.text if 'write' in self.plan.actions else None

    @property
    def replaced(self):
        """The PID of a master that was asked to end and will be started again, None otherwise."""
        return self.pid if self.plan.mode == 'restart' and self._ending.asked and self.pid == self.before.pid else None

    def begin(self, host, view, now, timeout):
        """Writes and links, and unlinks what does not run; the Emperor has not been woken yet."""
        self.started = now
        self.deadline = now + timeout
        self.began = self.resumes[1] if self.resumes else int(time.time())
        actions = self.plan.actions
        if self.plan.mode in ('reload', 'restart') and set(['write', 'env']) & set(actions):
            host.note_change(self.filename, self.plan.mode, self.before.workers if self.plan.mode == 'reload' else [self.before.pid])
        if 'write' in actions:
            host.write(self.filename, self.text, self._mtime(view), self.access)
            self.touched = True
        if 'chmod' in actions:
            for path, access in (self.before.path, self.access), (host.files.env_path(self.filename), self.env_access):
                if access is not None and os.path.exists(path):
                    _files.set_access(path, access)
                    self.touched = True
        if 'env' in actions:
            host.files.write_env(self.filename, self.env, self.env_access)
            self.touched = True
        if self.stops:
            host.note_user(self.before)
        fresh = self.plan.wants_up and self.plan.mode in ('start', 'restart') and not self.resumes
        if fresh:
            host.leave_log(self.before)
        if self.plan.wants_up and self.plan.mode:
            self.log_offset = self.resumes[0] if self.resumes else host.log_size(self.filename)
        if 'link' in actions:
            host.link(self.filename)
            self.touched = True
        if 'unlink' in actions and not self.stops:
            host.unlink(self.filename)
            self.touched = True
        if fresh:
            host.clear_own_dir(self.filename)
        if self.plan.mode == 'start':
            host.supervisor.start(self.filename)

    def _mtime(self, view):
        """The modification time for a file that is written.

        The Emperor compares whole seconds, so what it is to reload must be a second newer than what it knows. What we
        restart ourselves, or put back, keeps its time: otherwise the Emperor may take the new process for an old one and
        reload it in its first instant, in which its workers miss the signal and run into the mercy.
        """
        previous = self.before.mtime
        if previous is not None and (self.plan.mode == 'restart' or self.restores):
            return previous
        known = (view.stats or {}).get(self.filename, {}).get('last_mod', 0)
        return max(time.time(), int(previous or 0) + 1, known + 1)

    def moved(self, now):
        """The Emperor has started or lost a vassal, whichever: it is at work."""
        self._coming_up.moved = now

    def orphan(self, now):
        """The Emperor has ended, and its vassals with it: this one has not died by itself, and another Emperor starts it."""
        self.pid = None
        self._coming_up = ComingUp(self, self._coming_up.forgiven)
        self.moved(now)

    def step(self, host, view, now, timeout, wait=True):
        """Looks at the vassal and does what is next; `done` says that it got where it should."""
        pid = view.pids.get(self.filename)
        mode = self.plan.mode
        if pid != self.pid:
            if self.pid is not None and not (mode == 'restart' and self.pid == self.before.pid):
                self._coming_up.deaths += 1
            self.pid = pid
            self.born = True
        previous = pid is not None and pid == self.before.pid
        if previous and mode in ('stop', 'restart'):
            self._ending.step(host, view, pid, now, timeout, wait)
        elif self.plan.wants_gone:
            self._ending.follow(host, pid, now)
        elif pid and self.only_begins:
            self.done = True
        elif previous and mode == 'reload' and self._reload.asked is None:
            self._reload.ask(host, pid, now)
        else:
            if previous and mode == 'reload':
                self._reload.ask_again(pid, now)
            self._coming_up.step(host, view, now, pid)
        if not self.done and now > self.deadline:
            self.fail('after %d s: %s' % (timeout, self.seen))

    def old_workers(self, pid):
        """Those of the previous processes that are still the vassal's."""
        return _processes.family(pid) & self.before.workers


class Ending(object):
    """How a vassal's master finishes its requests and ends."""

    def __init__(self, job):
        self.job = job
        self.asked = None  # how the master was asked: 'signal', 'newborn', 'draining', 'drained', 'killed'
        self.asked_at = 0.0
        self.told = None  # the PID of a master which is not the one before, and was asked to end
        self._gone_at = None  # since when there is no master

    def step(self, host, view, pid, now, timeout, wait):
        """Makes a vassal finish its requests and end; at the deadline its workers are killed.

        The Emperor's own stop loses requests in 2.0.7, and in later releases where emperor-graceful-shutdown is not
        set. A master that is ending already takes no notice of it, so the link is removed once the master was asked,
        unless there is nothing to finish.
        """
        job, gone = self.job, self.job.plan.mode == 'stop'
        job.seen = 'process %d has not stopped yet' % pid
        if self.asked is None:
            self._ask(host, view, pid, now, wait)
        elif self.asked == 'draining' and not job.old_workers(pid):
            self._end(host, pid)
            self.asked, self.asked_at = 'drained', now
        elif self.asked in ('signal', 'draining', 'newborn') and now > job.deadline:
            if host.supervisor.disguised(pid):
                job.fail('process %d calls itself what its Emperor is called, so it got no signal; end it by: kill -KILL %d' % (pid, pid))
                return
            host.supervisor.signal_workers(pid, job.before.workers, signal.SIGKILL)
            if self.asked == 'draining' or not gone:
                host.supervisor.signal_vassal(pid, signal.SIGINT)
            if gone:
                host.unlink(job.filename)
            self.asked, self.asked_at, job.deadline = 'killed', now, now + max(timeout, 2 * PATIENCE)
            job.unplanned.append('kill')
            job.warnings.append('%s: requests in flight had not ended after %d s; its workers were killed.' % (job.name, timeout))
        elif self.asked in ('drained', 'newborn') and now > self.asked_at + PATIENCE:
            # the master may have missed it, or its new workers, in their first instants, what it told them; one that is still without
            # workers, and deaf to a SIGINT, is in code that does not come back to Python, Ruby or Perl
            workers = _processes.workers(pid)
            host.supervisor.signal_vassal(pid, signal.SIGKILL if self.asked == 'newborn' and not workers else signal.SIGINT)
            host.supervisor.signal_workers(pid, workers, signal.SIGKILL)
            self.asked_at = now
        elif self.asked == 'killed' and now > self.asked_at + PATIENCE:
            host.supervisor.signal_vassal(pid, signal.SIGKILL)
            self.asked_at = now

    def _ask(self, host, view, pid, now, wait):
        job, gone = self.job, self.job.plan.mode == 'stop'
        options = host.configurations.options(job.filename)
        # cron may start another command even while the workers end
        commands = host.supervisor.ends_at_once and any(option in options for option in COMMANDS)
        self.asked_at = now
        if gone:
            host.files.refuse_unlink(job.filename)
        if host.takes_itself_for_ending(job.filename):
            # such a master takes no notice of what it is asked; its workers finish their requests as well, and when they are gone it ends
            host.supervisor.signal_workers(pid, job.before.workers - set([pid]), signal.SIGHUP)
        if host.masterless(job.filename):
            host.send_hangup(job.filename, pid)  # that ends it, and it hears nothing of its Emperor
        elif (not job.before.workers or view.newborn(job.filename)) and not host.asleep(job.filename, pid):
            # No workers yet, or workers that load the application themselves (lazy-apps), so no requests to finish. A master this young
            # ignores SIGTERM and may miss other signals.
            self._end(host, pid)
            self.asked = 'newborn'
            return
        elif not commands and options.get('hook-master-start', '').split() == ['unix_signal:15', 'gracefully_kill_them_all']:
            host.supervisor.stop_gracefully(job.filename, pid, again=not gone)
        elif not wait or job.restores:
            self._end(host, pid)
        elif commands or not (gone and host.supervisor.graceful):
            # no graceful stop is to be had, but a graceful reload is: it ends when the requests have
            host.send_hangup(job.filename, pid)
            self.asked = 'draining'
            return
        self.asked = 'signal'
        if gone:
            host.unlink(job.filename)

    def _end(self, host, pid):
        """Ends a vassal that has nothing to finish. Its link goes first, or the Emperor may be quick enough to start it again."""
        gone = self.job.plan.mode == 'stop'
        if gone:
            host.unlink(self.job.filename)
        host.supervisor.end(self.job.filename, pid, again=not gone)

    def follow(self, host, pid, now):
        """Watches until no process of a vassal is left whose previous master has ended."""
        job = self.job
        if job.stops and self.asked in (None, 'draining'):
            # it ended by itself, so the Emperor starts it again
            host.unlink(job.filename)
            self.asked = 'signal'
        elif pid not in (None, job.before.pid) and now > max(self.asked_at, job.started) + PATIENCE:
            # started again before its link was gone, it is stopped in its first instants: its workers may miss that, and a master
            # that begins or replaces itself, which would only make new ones
            host.supervisor.signal_workers(pid, _processes.workers(pid), signal.SIGKILL)
            host.supervisor.signal_vassal(pid, signal.SIGKILL if self.told == pid else signal.SIGINT)
            self.told, self.asked_at = pid, now
        job.seen = 'process %s still runs' % pid if pid else 'processes of it still run'
        self._gone_at = None if pid else self._gone_at or now
        job.done = pid is None and not host.supervisor.leaves(job.filename, now - self._gone_at)
        # also where no master ran, and where its end is waited for in vain: what that has started may still listen
        closes = job.plan.mode == 'stop' and (job.done or pid is None and now > job.deadline)
        left = host.supervisor.close_socket(usual_socket(job.filename)) if closes else None
        if left and job.done:
            job.warnings.append('%s: %s.' % (job.name, left))
        elif left:
            job.seen += '; ' + left


class Reload(object):
    """How a vassal's master is asked to replace its workers, or itself."""

    def __init__(self, job):
        self.job = job
        self.asked = None  # how: 'left' to the Emperor, 'signal'
        self.asked_at = 0.0

    def ask(self, host, pid, now):
        job = self.job
        self.asked, self.asked_at = 'signal', now
        if 'write' in job.plan.actions:
            if host.supervisor.sees_changes and now <= job.started + PATIENCE and job.method != 'brutal':
                self.asked = 'left'
                return
        elif job.method == 'chain':
            self._chain(host, pid)
            return
        host.send_hangup(job.filename, pid)
        if job.method == 'brutal':
            host.supervisor.signal_workers(pid, job.before.workers, signal.SIGKILL)

    def ask_again(self, pid, now):
        """Lets a master that has not taken notice be asked again."""
        job = self.job
        if not job.old_workers(pid):
            return
        if self.asked == 'left' and now > job.started + PATIENCE:
            self.asked = None
        elif job.method == 'chain' and now > self.asked_at + PATIENCE and job.old_workers(pid) == job.before.workers:
            # a master that has not ended its last chain takes no notice of another
            self.asked = None

    def _chain(self, host, pid):
        job = self.job
        try:
            host.tell_fifo(job.filename, pid, b'c')
        except (IOError, OSError, VassalError) as error:
            job.fail(
                str(error)
                if isinstance(error, VassalError)
                # it is full, as its master does not read it
                else '%s can not be written (%s): restart it' % (host.configurations.options(job.filename).get('master-fifo'), os.strerror(error.errno))
            )
            # its log tells nothing of that, and it was not told to come up
            job.explained = '%s: %s.' % (visible(job.name), visible(job.failure))


class ComingUp(object):
    """Watches a vassal that is to come up, or whose reload is to end, until it accepts requests and answers its probe."""

    def __init__(self, job, forgiven=False):
        self.job = job
        self.forgiven = forgiven
        self.deaths = 0
        self.moved = 0.0  # when the Emperor started or lost a vassal, whichever
        self._attempts = None  # by the Emperor's blacklist, when it was looked at first
        self._absent = None  # since when there is no process
        self._on_demand_at = 0.0  # from when on the Emperor's own socket may be connected to
        self._socketless = None  # since when it can not be reached
        self._connection = None
        self._connect_at = 0.0  # from when on it may be connected to again
        self._request = None
        self._request_at = 0.0
        self._verdict = None  # what the last answer to the probe was, where that was wrong

    def step(self, host, view, now, pid):
        job = self.job
        attempts = view.blacklist.get(job.filename, 0)
        job.born = job.born or self._attempts is not None and attempts > self._attempts
        # once forgiven they count from nothing again
        self._attempts = attempts if self._attempts is None else min(self._attempts, attempts)
        self._absent = (self._absent or now) if pid is None else None
        if pid is None:
            self._wait_for_process(host, view, now)
        elif job.plan.mode == 'reload' and pid == job.before.pid and job.old_workers(pid):
            job.seen = 'workers of process %d have not ended their work yet' % pid
        elif self._current(host, view) and self._accepts(host, view, now, pid):
            flaw = job.plan.mode and host.flaw(job.filename, job.log_offset, pid)
            if flaw:
                job.fail('it accepts requests, but by its log it %s' % flaw)
            else:
                job.done = not job.probe or self._answers(host, now, pid)
        # a second more for each attempt on its list, which 2.0.7 does not forgive a vassal that does not run
        throttled = self._absent is not None and now - max(self._absent, self.moved) > THROTTLED + attempts
        if not job.done and (throttled or self.deaths >= DEATHS or attempts - self._attempts >= DEATHS - 1):
            job.fail(DIES)

    def _wait_for_process(self, host, view, now):
        job = self.job
        job.seen = 'the Emperor has ended, and another one does not run yet' if view.lost else 'no process of it runs'
        if job.filename in view.waiting and now >= self._on_demand_at:
            self._on_demand_at = now + PROBE_AGAIN
            job.seen = host.supervisor.knock(view.waiting[job.filename]) or 'the Emperor has not started it yet'
        if not self.forgiven and host.supervisor.throttled(job.filename, view):
            self.forgiven = job.to_clear = True

    def _current(self, host, view):
        """Whether the Emperor has seen the file as it is now: otherwise a reload is still to come."""
        job = self.job
        job.seen = 'the Emperor has not seen its new file yet'
        if 'write' not in job.plan.actions or view.stats is None or job.filename not in view.stats:
            return True
        return view.stats[job.filename]['last_mod'] >= host.files.mtime(job.filename)

    def _accepts(self, host, view, now, pid):
        """Whether a worker takes requests: by the Emperor's stats and, where these don't tell it, by a connection of our own."""
        job = self.job
        job.seen = 'process %d does not accept requests yet' % pid
        told = view.accepting(job.filename)
        asleep = host.asleep(job.filename, pid)
        if told is False and not asleep or asleep and job.plan.mode is None:
            # nothing that a connection came to would count
            return accepts(told, asleep, UNASKED, None)
        if self._connection is None or self._connection.problem and now >= self._connect_at:
            self._connection = host.connect(job.filename, pid)
            # each connection takes a place in the queue of whoever listens there
            self._connect_at = now + PROBE_AGAIN if self._connection and self._connection.foreign else now
        if self._connection is not None:
            self._connection.poll()
        state = self._connection.state if self._connection is not None else UNASKED
        if state == REFUSED:
            job.seen = self._connection.problem
            self._socketless = self._socketless or now
            if now - self._socketless > SOCKETLESS:
                job.fail('it runs as process %d, but can not be reached: %s; %s' % (pid, job.seen, host.supervisor.mends_socket))
            return False
        self._socketless = None
        if state == QUEUED:
            job.seen = 'the queue of %s is full' % self._connection.address
        return accepts(told, asleep, state, lambda: host.settled(pid), job.plan.mode)

    def _answers(self, host, now, pid):
        """Whether the application answers the probe as it should; a wrong answer is asked for again until the deadline."""
        job = self.job
        if self._request is None:
            job.seen = self._verdict or job.seen
            if now < self._request_at:
                return False
            self._request = host.connect(job.filename, pid, job.probe.request())
            self._request_at = now + PROBE_AGAIN
            if self._request is None:
                job.seen = 'it names no socket that speaks the uwsgi protocol, so its probe can not be sent'
                return False
        if not self._request.poll():
            job.seen = self._verdict or 'the probe of %s has no answer yet' % job.probe.path
            return False
        self._verdict = job.probe.verdict(self._request.status, self._request.problem)
        job.seen = self._verdict or job.seen
        self._request = None
        return self._verdict is None
