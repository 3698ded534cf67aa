# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Carries out plans, many at once: every vassal is a job, and one loop looks at the host and lets each take its next step."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import signal
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _emperor
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError

TICK = 0.02
# The Emperor starts a vassal that dies at once, once more, and then throttles it: three deaths are a crash loop.
DEATHS = 3
# A vassal that the Emperor, woken all the time, has not started for so many seconds is one that it throttles.
THROTTLED = 3.0
# After this many seconds a reload that was left to the Emperor (it saw a newer file) is asked for by a signal.
PATIENCE = 2.0


class Job(object):
    """One vassal on its way from a situation to what its plan wants."""

    def __init__(self, situation, plan, text=None, probe=None, restores=False):
        self.name = situation.name
        self.filename = situation.name + situation.extension
        self.before = situation
        self.after = None
        self.plan = plan
        self.text = text
        self.probe = probe
        self.restores = restores
        self.failure = None
        self.explained = None
        self.done = False
        self.elapsed = 0.0
        self.seen = 'it was not seen yet'
        self.log_offset = 0
        self.began = 0
        self.started = 0.0
        self._pid = situation.pid
        self._deaths = 0
        self._acted = None
        self._absent = None
        self._forgiven = False
        self._attempts = None

    def fail(self, message):
        self.failure = message
        self.done = True

    def change_files(self, host, view):
        """Writes, links and unlinks; the Emperor has not been woken yet."""
        self.began = int(time.time())
        self.log_offset = host.log_size(self.filename) if self.plan.wants_up and self.plan.mode else 0
        actions = self.plan.actions
        if 'write' in actions:
            host.write(self.filename, self.text, self._mtime(view))
            host.forget(self.filename)
        if 'link' in actions:
            host.link(self.filename)
        if 'unlink' in actions:
            host.unlink(self.filename)

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

    def step(self, host, view, now):
        """Looks at the vassal and does what is next; `done` says that it got where it should."""
        pid = view.pids.get(self.filename)
        mode = self.plan.mode
        if pid != self._pid:
            if self._pid is not None and not (mode == 'restart' and self._pid == self.before.pid):
                self._deaths += 1
            self._pid = pid
        if self.plan.wants_gone:
            self.seen = 'process %s still runs' % pid
            self.done = pid is None
            return
        attempts = view.blacklist.get(self.filename, 0)
        if self._attempts is None:
            self._attempts = attempts
        if mode in ('restart', 'reload') and self._acted is None and pid is not None and pid == self.before.pid:
            self._act(host, pid, now)
            return
        self._absent = (self._absent or now) if pid is None else None
        if pid is None:
            self.seen = 'no process of it runs'
            if not self._forgiven and (self.filename in view.blacklist or view.stats is None):
                host.forgive()
                self._forgiven = True
                self._attempts = 0
        elif mode == 'restart' and pid == self.before.pid:
            self.seen = 'process %d has not stopped yet' % pid
            return
        else:
            workers = set(_emperor.children(pid))
            if not workers:
                self.seen = 'process %d has no workers yet' % pid
            elif mode == 'reload' and pid == self.before.pid and workers & self.before.workers:
                self.seen = 'workers of process %d have not ended their work yet' % pid
                if self._acted == 'left' and now > self.started + PATIENCE:
                    self._acted = None
            elif self._current(host, view) and host.accepts(self.filename, pid, view, asked=mode == 'reload'):
                self.done = True
                defect = mode and host.defect(self.filename, self.log_offset)
                if defect:
                    self.fail('it accepts requests, but has not loaded its application: %s' % defect)
            else:
                self.seen = 'process %d does not accept requests yet' % pid
        throttled = self._absent is not None and now - self._absent > THROTTLED
        if not self.done and (throttled or self._deaths >= DEATHS or attempts - self._attempts >= DEATHS - 1):
            self.fail('it dies as soon as it is started')

    def _act(self, host, pid, now):
        if self.plan.mode == 'restart':
            hook = host.options(self.filename, ['hook-master-start']).get('hook-master-start', '')
            graceful = hook.split() == ['unix_signal:15', 'gracefully_kill_them_all']
            host.signal_vassal(self.filename, pid, signal.SIGTERM if graceful else signal.SIGINT)
            self._acted = 'signal'
        elif 'write' in self.plan.actions and now <= self.started + PATIENCE:
            self._acted = 'left'
        else:
            host.signal_vassal(self.filename, pid, signal.SIGHUP)
            self._acted = 'signal'

    def _current(self, host, view):
        """Whether the Emperor has seen the file as it is now: otherwise a reload is still to come."""
        if 'write' not in self.plan.actions or view.stats is None:
            return True
        return view.stats[self.filename]['last_mod'] >= host.mtime(self.filename)


def drive(host, jobs, timeout, wait=True, clock=_emperor.monotonic, sleep=time.sleep):
    """Carries out the jobs' plans and, with `wait`, watches until each is done, has failed or `timeout` seconds went by."""
    view = host.look()
    busy = [job for job in jobs if job.plan.mode in ('restart', 'reload', 'stop')]
    young = [age for job in busy for age in map(_emperor.age, job.before.workers) if age is not None and age < _emperor.SETTLE]
    if young:
        sleep(_emperor.SETTLE - min(young))
    start = clock()
    for job in jobs:
        job.started = start
        try:
            job.change_files(host, view)
        except (IOError, OSError) as error:
            job.fail('its files could not be changed: %s' % error)
    pending = [job for job in jobs if not job.done and (wait or job.plan.mode)]
    if not wait:
        # one look wakes the Emperor, one step sends the signals; nothing is waited for
        view = host.look()
        for job in pending:
            if job.plan.mode in ('restart', 'reload') and view.pids.get(job.filename) == job.before.pid:
                job.step(host, view, start)
        pending = []
    while pending:
        view = host.look()
        now = clock()
        for job in pending:
            try:
                job.step(host, view, now)
            except VassalError as error:
                job.fail(str(error))
            job.elapsed = now - start
            if not job.done and job.elapsed > timeout:
                job.fail('after %d s: %s' % (timeout, job.seen))
        for job in [job for job in pending if job.done and not job.failure and job.probe and job.plan.wants_up]:
            job.done = False
            ask(host, view, job)
            if not job.done and now - start > timeout:
                job.fail('after %d s: %s' % (timeout, job.seen))
        pending = [job for job in pending if not job.done]
        if pending:
            sleep(TICK)
    view = host.look() if jobs else None
    for job in jobs:
        job.after = host.situation(job.name, view)


def ask(host, view, job):
    """Sends the job's probe; a wrong answer counts at the end of the time, because an application may still warm up."""
    pid = view.pids.get(job.filename)
    said = 'no socket of it speaks the uwsgi protocol'
    for address in host.addresses(job.filename):
        if _emperor.hangs_up(address, pid) is None:
            continue
        try:
            status, dummy = _emperor.request(address, pid, job.probe['path'], job.probe.get('host') or 'localhost', 5)
        except VassalError as error:
            said = str(error)
            continue
        if status in job.probe['status']:
            job.done = True
            return
        said = 'the probe of %s got status %d, not %s' % (job.probe['path'], status, ' or '.join(map(str, job.probe['status'])))
        break
    job.seen = said
