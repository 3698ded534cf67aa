# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Carries out plans, many at once: every vassal is a job, and one loop looks at the host and lets each take its next step.

A step never waits, so no vassal holds up another.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import signal
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _files, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._acceptance import QUEUED, REFUSED, UNASKED, accepts
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import usual_socket
from ansible_collections.uwsgi.emperor.plugins.module_utils._host import SETTLE
from ansible_collections.uwsgi.emperor.plugins.module_utils._sockets import PING
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import visible
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Plan, VassalError

# All times are in seconds.
TICK = 0.02
LONGEST_TICK = 0.2
# So often a master that is to be started anew is looked at, each of them: from its end on nobody listens.
BLINK = 0.001
# A vassal that has not answered a ping after so long is busy.
PONG = 0.2
# The Emperor starts a vassal that dies at once, once more, and then throttles it: three deaths are a crash loop.
DEATHS = 3
DIES = 'it dies as soon as it is started'
# A vassal that the Emperor, woken all the time, has not started for so long is one that it throttles.
THROTTLED = 3.0
# After so long a reload that was left to the Emperor (it saw a newer file) is asked for by a signal, a stop that a
# master missed while it began or replaced itself is asked for again, and a master that outlives its killed workers is killed.
PATIENCE = 2.0
# A socket that is not there, or not the vassal's own, after so long will not become so.
SOCKETLESS = 5.0
# A probe that got a wrong answer is sent again, as the application may still warm up, and so is a foreign socket asked, and one
# on which the Emperor waits.
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
        self.done = False
        self.elapsed = 0.0
        self.seen = 'it was not seen yet'
        self.log_offset = 0
        self.began = 0
        self.touched = False  # whether one of its files or links was changed
        self.started = 0.0
        self.deadline = 0.0
        self._pid = situation.pid
        self._deaths = 0
        self._asked = None  # how its master was asked to stop or reload: 'left' to the Emperor, 'signal', 'newborn', 'draining', 'drained', 'killed'
        self._asked_at = 0.0
        self._told = None  # the PID of a master which is not the one before, and was asked to end
        self._absent = None
        self.moved = 0.0  # when the Emperor started or lost a vassal, whichever
        self._socketless = None
        self.to_forgive = False
        self._forgiven = False
        self._attempts = None
        self._knock = None
        self._knock_at = 0.0
        self._request = None
        self._request_at = 0.0
        self._verdict = None  # what the last answer to the probe was, where that was wrong
        self.born = False  # whether it was started since

    def fail(self, message):
        # it becomes a part of a sentence
        self.failure = message.rstrip('.')
        self.done = True

    @property
    def there(self):
        """Whether the situation was the one that is wanted, and no probe is to tell more."""
        good = self.before.accepting if self.plan.wants_up else self.plan.wants_gone
        return bool(good and not self.plan.changed and not self.probe)

    @property
    def rose(self):
        """Whether it accepts requests now, and systemd may not know that."""
        return bool(self.after and self.after.accepting and ('link' in self.plan.actions or not self.before.accepting))

    @property
    def fell(self):
        """Whether it does not run any more, and systemd may not know that."""
        return bool(self._stops() and self.done and not self.failure)

    @property
    def to_write(self):
        return self.text if 'write' in self.plan.actions else None

    def begin(self, host, view, now, timeout):
        """Writes and links, and unlinks what does not run; the Emperor has not been woken yet."""
        self.started = self._asked_at = now
        self.deadline = now + timeout
        self.began = int(time.time())
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
        if self.plan.wants_up and self.plan.mode:
            self.log_offset = host.log_size(self.filename)
        if 'link' in actions:
            host.link(self.filename)
            self.touched = True
        if 'unlink' in actions and not self._stops():
            host.unlink(self.filename)
            self.touched = True
        if self.plan.mode == 'start':
            host.supervisor.start(self.filename)

    def _stops(self):
        return self.plan.mode == 'stop' and self.before.pid is not None

    def _mtime(self, view):
        """The modification time for a file that is written.

        The Emperor compares whole seconds, so what it is to reload must be a second newer than what it knows. What we
        restart ourselves, or put back, keeps its time: otherwise the Emperor may take the new process for an old one and
        reload it in its first instant, in which its workers miss the signal and run into the mercy.
        """
        former = self.before.mtime
        if former is not None and (self.plan.mode == 'restart' or self.restores):
            return former
        known = (view.stats or {}).get(self.filename, {}).get('last_mod', 0)
        return max(time.time(), int(former or 0) + 1, known + 1)

    def orphan(self, now):
        """The Emperor has ended, and its vassals with it: this one has not died by itself, and another Emperor starts it."""
        self._pid = self._attempts = self._absent = self._knock = self._request = None
        self._deaths = 0
        self.moved = now

    def step(self, host, view, now, timeout, wait=True):
        """Looks at the vassal and does what is next; `done` says that it got where it should."""
        pid = view.pids.get(self.filename)
        mode = self.plan.mode
        if pid != self._pid:
            if self._pid is not None and not (mode == 'restart' and self._pid == self.before.pid):
                self._deaths += 1
            self._pid = pid
            self.born = True
        if pid is not None and pid == self.before.pid and mode in ('stop', 'restart'):
            self._stop(host, view, pid, now, timeout, wait)
        elif self.plan.wants_gone:
            if self._stops() and self._asked in (None, 'draining'):
                # it ended by itself, so the Emperor starts it again
                host.unlink(self.filename)
                self._asked = 'signal'
            elif pid not in (None, self.before.pid) and now > self._asked_at + PATIENCE:
                # started anew before its link was gone, it is stopped in its first instants: its workers may miss that, and a master
                # that begins or replaces itself, which would only make new ones
                host.supervisor.signal_workers(pid, _processes.children(pid), signal.SIGKILL)
                host.supervisor.signal_vassal(pid, signal.SIGKILL if self._told == pid else signal.SIGINT)
                self._told, self._asked_at = pid, now
            self.seen = 'process %s still runs' % pid if pid else 'processes of it still run'
            self.done = pid is None and not host.supervisor.leaves(self.filename)
            left = host.supervisor.close_socket(usual_socket(self.filename)) if self.done and self._stops() else None
            if left:
                self.warnings.append('%s: %s.' % (self.name, left))
        elif pid is not None and pid == self.before.pid and mode == 'reload' and self._asked is None:
            self._reload(host, pid, now)
        else:
            self._rise(host, view, now, pid)
        if not self.done and now > self.deadline:
            self.fail('after %d s: %s' % (timeout, self.seen))

    @property
    def ending(self):
        """The PID of a master that was asked to end and will be started anew, None otherwise."""
        return self._pid if self.plan.mode == 'restart' and self._asked and self._pid == self.before.pid else None

    def _stop(self, host, view, pid, now, timeout, wait):
        """Has a vassal finish its requests and end; at the deadline its workers are killed.

        The Emperor's own stop loses requests in 2.0.7, and in later releases where emperor-graceful-shutdown is not
        set. A master that is ending already takes no notice of it, so the link is removed once the master was asked,
        unless there is nothing to finish.
        """
        self.seen = 'process %d has not stopped yet' % pid
        gone = self.plan.mode == 'stop'
        if self._asked is None:
            self._asked_at = now
            if gone:
                host.files.refuse_unlink(self.filename)
            if host.masterless(self.filename):
                host.hang_up(self.filename, pid)  # that ends it, and it hears nothing of its Emperor
            elif (not self.before.workers or view.newborn(self.filename)) and not host.asleep(self.filename, pid):
                # it serves nobody: its workers are not there, or load the application themselves (lazy-apps); newborn it takes no
                # SIGTERM and may miss any other
                self._end(host, pid, gone)
                self._asked = 'newborn'
                return
            elif host.configurations.options(self.filename).get('hook-master-start', '').split() == ['unix_signal:15', 'gracefully_kill_them_all']:
                host.supervisor.finish(self.filename, pid, again=not gone)
            elif not wait or self.restores:
                self._end(host, pid, gone)
            elif not (gone and host.supervisor.graceful):
                # no graceful stop is to be had, but a graceful reload is: it ends when the requests have
                host.hang_up(self.filename, pid)
                self._asked = 'draining'
                return
            self._asked = 'signal'
            if gone:
                host.unlink(self.filename)
        elif self._asked == 'draining' and not self._old_workers(pid):
            self._end(host, pid, gone)
            self._asked, self._asked_at = 'drained', now
        elif self._asked in ('signal', 'draining', 'newborn') and now > self.deadline and host.supervisor.disguised(pid):
            self.fail('process %d calls itself what its Emperor is called, so it got no signal; end it by: kill -KILL %d' % (pid, pid))
        elif self._asked in ('signal', 'draining', 'newborn') and now > self.deadline:
            host.supervisor.signal_workers(pid, self.before.workers, signal.SIGKILL)
            if self._asked == 'draining' or not gone:
                host.supervisor.signal_vassal(pid, signal.SIGINT)
            if gone:
                host.unlink(self.filename)
            self._asked, self._asked_at, self.deadline = 'killed', now, now + max(timeout, 2 * PATIENCE)
            self.plan.actions.append('kill')
            self.warnings.append('%s: requests in flight had not ended after %d s; its workers were killed.' % (self.name, timeout))
        elif self._asked in ('drained', 'newborn') and now > self._asked_at + PATIENCE:
            # the master may have missed it, or its new workers, in their first instants, what it told them; one that is still without
            # workers, and deaf to a SIGINT, is in code that does not come back to Python, Ruby or Perl
            workers = _processes.children(pid)
            host.supervisor.signal_vassal(pid, signal.SIGKILL if self._asked == 'newborn' and not workers else signal.SIGINT)
            host.supervisor.signal_workers(pid, workers, signal.SIGKILL)
            self._asked_at = now
        elif self._asked == 'killed' and now > self._asked_at + PATIENCE:
            host.supervisor.signal_vassal(pid, signal.SIGKILL)
            self._asked_at = now

    def _end(self, host, pid, gone):
        """Ends a vassal that has nothing to finish. Its link goes first, or the Emperor may be quick enough to start it anew."""
        if gone:
            host.unlink(self.filename)
        host.supervisor.end(self.filename, pid, again=not gone)

    def _old_workers(self, pid):
        return set(_processes.children(pid) + [pid]) & self.before.workers

    def _reload(self, host, pid, now):
        self._asked, self._asked_at = 'signal', now
        if 'write' in self.plan.actions:
            if host.supervisor.sees_changes and now <= self.started + PATIENCE and self.method != 'brutal':
                self._asked = 'left'
                return
        elif self.method == 'chain':
            self._chain(host, pid)
            return
        host.hang_up(self.filename, pid)
        if self.method == 'brutal':
            host.supervisor.signal_workers(pid, self.before.workers, signal.SIGKILL)

    def _chain(self, host, pid):
        try:
            host.tell_fifo(self.filename, pid, b'c')
        except (IOError, OSError, VassalError) as error:
            self.fail(
                str(error)
                if isinstance(error, VassalError)
                # it is full, as its master does not read it
                else '%s can not be written (%s): restart it' % (host.configurations.options(self.filename).get('master-fifo'), os.strerror(error.errno))
            )
            # its log tells nothing of that, and it was not told to come up
            self.explained = '%s: %s.' % (visible(self.name), visible(self.failure))

    def _rise(self, host, view, now, pid):
        """Watches a vassal that shall come up, or whose reload shall end."""
        attempts = view.blacklist.get(self.filename, 0)
        self.born = self.born or self._attempts is not None and attempts > self._attempts
        # once forgiven they count from nothing again
        self._attempts = attempts if self._attempts is None else min(self._attempts, attempts)
        self._absent = (self._absent or now) if pid is None else None
        if pid is None:
            self.seen = 'the Emperor has ended, and another one does not run yet' if view.lost else 'no process of it runs'
            if self.filename in view.waiting and now >= self._knock_at:
                self._knock_at = now + PROBE_AGAIN
                self.seen = host.supervisor.knock(view.waiting[self.filename]) or 'the Emperor has not started it yet'
            if not self._forgiven and host.supervisor.throttled(self.filename, view):
                self._forgiven = self.to_forgive = True
        elif self.plan.mode == 'reload' and pid == self.before.pid and self._old_workers(pid):
            self.seen = 'workers of process %d have not ended their work yet' % pid
            if self._asked == 'left' and now > self.started + PATIENCE:
                self._asked = None
            elif self.method == 'chain' and now > self._asked_at + PATIENCE and self._old_workers(pid) == self.before.workers:
                # a master that has not ended its last chain takes no notice of another
                self._asked = None
        elif self._current(host, view) and self._accepts(host, view, now, pid):
            defect = self.plan.mode and host.defect(self.filename, self.log_offset)
            if defect:
                self.fail('it accepts requests, but by its log has not loaded its application: %s' % defect)
            elif self.probe:
                self.done = self._answers(host, now, pid)
            else:
                self.done = True
        # a second more for each attempt on its list, which 2.0.7 does not forgive a vassal that does not run
        throttled = self._absent is not None and now - max(self._absent, self.moved) > THROTTLED + attempts
        if not self.done and (throttled or self._deaths >= DEATHS or attempts - self._attempts >= DEATHS - 1):
            self.fail(DIES)

    def _current(self, host, view):
        """Whether the Emperor has seen the file as it is now: otherwise a reload is still to come."""
        self.seen = 'the Emperor has not seen its new file yet'
        if 'write' not in self.plan.actions or view.stats is None or self.filename not in view.stats:
            return True
        return view.stats[self.filename]['last_mod'] >= host.files.mtime(self.filename)

    def _accepts(self, host, view, now, pid):
        """Whether a worker takes requests: by the Emperor's stats and, where these don't tell it, by a connection of our own."""
        self.seen = 'process %d does not accept requests yet' % pid
        told = view.accepting(self.filename)
        asleep = host.asleep(self.filename, pid)
        if told is False and not asleep or asleep and self.plan.mode is None:
            # nothing that a connection came to would count
            return accepts(told, asleep, UNASKED, None)
        if self._knock is None or self._knock.problem and now >= self._knock_at:
            self._knock = host.converse(self.filename, pid)
            # what we say to a stranger fills his queue
            self._knock_at = now + PROBE_AGAIN if self._knock and self._knock.foreign else now
        if self._knock is not None:
            self._knock.poll()
        state = self._knock.state if self._knock is not None else UNASKED
        if state == REFUSED:
            self.seen = self._knock.problem
            self._socketless = self._socketless or now
            if now - self._socketless > SOCKETLESS:
                self.fail('it runs as process %d, but can not be reached: %s; restart it' % (pid, self.seen))
            return False
        self._socketless = None
        if state == QUEUED:
            self.seen = 'the queue of %s is full' % self._knock.address
        return accepts(told, asleep, state, lambda: host.settled(pid), self.plan.mode)

    def _answers(self, host, now, pid):
        """Whether the application answers the probe as it should; a wrong answer is asked for again until the deadline."""
        if self._request is None:
            self.seen = self._verdict or self.seen
            if now < self._request_at:
                return False
            self._request = host.converse(self.filename, pid, self.probe.request())
            self._request_at = now + PROBE_AGAIN
            if self._request is None:
                self.seen = 'it names no socket that speaks the uwsgi protocol, so its probe can not be sent'
                return False
        if not self._request.poll():
            self.seen = self._verdict or 'the probe of %s has no answer yet' % self.probe.path
            return False
        self._verdict = self.probe.verdict(self._request.status, self._request.problem)
        self.seen = self._verdict or self.seen
        self._request = None
        return self._verdict is None


def drive(host, jobs, timeout, wait=True, clock=_processes.monotonic, sleep=time.sleep):
    """Carries out the jobs' plans and, with `wait`, watches until each is done, has failed or `timeout` seconds went by."""
    if all(job.there for job in jobs):
        # hundreds are not to be looked at once more
        for job in jobs:
            job.after = job.before
            job.done = True
        return
    entered = clock()
    view = host.supervisor.look()
    busy = [job for job in jobs if job.plan.mode in ('restart', 'reload', 'stop')]
    young = [age for job in busy for age in map(_processes.age, job.before.workers) if age is not None and age < SETTLE]
    if young:
        sleep(SETTLE - min(young))
    spare(host, view, [job for job in busy if job.plan.mode != 'reload'], clock, sleep)
    # The Emperor is woken when all are linked: what it starts would take the processors from what looks at the others.
    for job in jobs:
        if not job.done:
            try:
                job.begin(host, view, clock(), timeout)
            except (IOError, OSError) as error:
                job.fail('its files could not be changed: %s' % seen(error))
                if not job.touched:
                    job.explained = '%s: %s. Nothing of it was changed.' % (visible(job.name), visible(job.failure))
                    job.plan = Plan([])
    pending = [job for job in jobs if not job.done and (wait or job.plan.mode)]
    while pending:
        began = clock()
        former, view = view, host.supervisor.look()
        now = clock()
        for job in pending:
            if view.lost or view.emperor != former.emperor:
                job.orphan(now)
            if view.pids != former.pids:
                # 2.0.7 sleeps before each of many that it starts, up to a second
                job.moved = now
            try:
                job.step(host, view, now, timeout, wait)
            except VassalError as error:
                job.fail(str(error))
            except (IOError, OSError) as error:
                job.fail(seen(error))
            if job.done and not job.failure and job.plan.mode:
                host.files.forget(job.filename)
            job.elapsed = now - entered
        if any(job.to_forgive for job in pending):
            # the Emperor's list is forgiven as a whole, once for all
            host.supervisor.forgive()
            for job in pending:
                job.to_forgive = False
        # without waiting, one look wakes the Emperor and one step sends the signals
        pending = [job for job in pending if not job.done] if wait else []
        if pending:
            # a look at hundreds takes time that the Emperor and they need themselves
            pause(min(max(TICK, clock() - began), LONGEST_TICK), [job.ending for job in pending if job.ending], clock, sleep)
    if jobs:
        for job, situation in zip(jobs, host.situations([job.name for job in jobs], host.supervisor.look())):
            job.after = situation


def seen(error):
    """What the kernel refused, and of which path where the error knows one."""
    reason = error.strerror or str(error)
    return '%s: %s' % (error.filename, reason) if error.filename else reason


def spare(host, view, jobs, clock, sleep):
    """Has the Emperor not delay the next start of vassals that end without a request because we ask them to.

    Each such end puts a vassal on its list, or adds a second there. It clears the list when it is told to, but that of 2.0.7 keeps
    its newest vassal there, and all that do not run, until a request: a ping is one that runs nothing of the application.
    """

    listed = [job for job in jobs if job.before.pid and host.supervisor.throttled(job.filename, view)]
    if not listed:
        return
    host.supervisor.forgive()
    view = host.supervisor.look()
    asked = [job for job in listed if host.supervisor.throttled(job.filename, view) and not host.asleep(job.filename, job.before.pid)]
    pings = [ping for ping in (host.converse(job.filename, job.before.pid, PING) for job in asked) if ping is not None]
    end = clock() + PONG
    # a list, as each of them has to be taken on
    while [ping for ping in pings if not ping.poll()] and clock() < end:
        sleep(BLINK)
    for ping in pings:
        ping.close()


def pause(seconds, ending, clock, sleep):
    """Sleeps for so long, or until one of the processes `ending` has ended: the next look has the Emperor start it anew."""
    end = clock() + seconds
    while clock() < end:
        sleep(min(BLINK * len(ending) or seconds, seconds))
        if any(_processes.process(pid) is None for pid in ending):
            break


def lint(host, jobs):
    """Fails the jobs whose configuration uWSGI does not take."""
    starting = [job for job in jobs if job.plan.mode in ('start', 'reload', 'restart')]
    host.configurations.read([(job.filename, job.to_write) for job in starting])
    for job in starting:
        found = host.configurations.lint(job.filename, job.to_write)
        own, others = host.exposed(job.filename, job.to_write)
        if job.to_write is not None:
            found = found + own
            own = []
        job.warnings += ['%s: %s.' % (visible(job.name), sentence) for sentence in own + others]
        if found:
            job.fail('its configuration is wrong')
            job.explained = '%s: %s: %s. Nothing of it was changed.' % (visible(job.name), visible(job.before.path), '; '.join(found))
            job.plan = Plan([])


def explain(host, job):
    """The message for a vassal that failed, with the reason and the last lines of its log: what a log says is named as such, or indented."""
    name, failure = visible(job.name), visible(job.failure)
    if not job.plan.wants_up or not job.plan.mode and job.failure != DIES:
        return '%s: %s.' % (name, failure)
    where, lines, reason = host.story(job.filename, job.began, job.log_offset, dying=job.before.pid is None and not job.born)
    where = visible(where)
    message = '%s: it did not come up: %s.' % (name, failure)
    if reason:
        message += ' %s gives the Reason: %s' % (where, reason)
    if lines:
        message += '\nThe last lines of %s:\n%s' % (where, '\n'.join('  ' + line for line in lines[-12:]))
    else:
        message += ' Its log %s says nothing; look at: journalctl -u %s' % (where, host.supervisor.journal_of(job.filename))
    return message


def roll_back(host, failed, timeout, sleep=time.sleep):
    """Puts back files and links of vassals that did not come up, and waits for those that ran before."""
    undone = []
    for job in failed:
        if not set(['write', 'env', 'link']) & set(job.plan.actions):
            continue
        view = host.supervisor.look()
        situation = host.situations([job.name], view)[0]
        actions = []
        if 'write' in job.plan.actions:
            if job.before.text is None:
                actions.append('delete')
            else:
                actions.append('write')
        if 'env' in job.plan.actions:
            actions.append('env')
        plan = Plan(actions)
        if 'link' in job.plan.actions and job.before.link in (None, 'dangling') or job.before.shared and job.before.text is None:
            actions.append('unlink')
            plan.mode, plan.wants_gone = 'stop', True
        else:
            plan.mode, plan.wants_up = ('restart' if situation.pid else 'start'), job.before.pid is not None
        situation.mtime = job.before.mtime
        was = job.before
        again = Job(situation, plan, was.text, restores=True, access=was.access, env=was.env, env_access=was.env_access)
        undone.append((job, again))
    if not undone:
        return
    host.supervisor.forgive()
    drive(host, [again for dummy, again in undone], timeout, sleep=sleep)
    for job, again in undone:
        job.after = again.after
        back = 'former %s is back' % ('environment' if 'env' in job.plan.actions and 'write' not in job.plan.actions else 'file')
        job.plan.actions.append('rollback')
        if 'delete' in again.plan.actions:
            host.files.delete(job.filename)
        if again.failure and (again.plan.wants_up or again.plan.wants_gone):
            job.explained += '\n%s.' % (
                'Its %s, but what ran before does not come up: %s' % (back, again.failure)
                if again.plan.wants_up
                else 'Its link is gone again, but it still runs: ' + again.failure
            )
        elif again.plan.wants_up:
            job.explained += '\nIts %s and runs again (process %s).' % (back, again.after.pid)
        else:
            gone = 'its %s is gone again' % ('file' if job.before.shared else 'link')
            job.explained += '\nThe host is as it was: %s.' % (gone if 'unlink' in again.plan.actions else 'its ' + back)


def bring_about(host, jobs, timeout, wait=True, sleep=time.sleep):
    """Carries out the jobs whose configuration uWSGI takes; what fails is explained, and what that changed is put back.

    sleep: is called between two steps; what it raises leaves the jobs where they are.
    """
    for job in jobs:
        if not job.before.unfinished:
            # a run may have been killed when all was done but this
            host.files.forget(job.filename)
    lint(host, jobs)
    # their options say how they stop
    host.configurations.read([(job.filename, None) for job in jobs if job.plan.mode == 'stop'])
    drive(host, jobs, timeout, wait, sleep=sleep)
    failed = [job for job in jobs if job.failure and not job.explained]
    for job in failed:
        job.explained = explain(host, job)
    roll_back(host, failed, timeout, sleep)
