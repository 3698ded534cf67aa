# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Executes jobs, many at once: one loop looks at the host and lets each job take its next step. What fails is explained and put back."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import copy
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._host import SETTLE
from ansible_collections.uwsgi.emperor.plugins.module_utils._job import DIES, Job
from ansible_collections.uwsgi.emperor.plugins.module_utils._sockets import PING
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import visible
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Plan, VassalError

# All times are in seconds, between two looks at all jobs.
TICK = 0.02
LONGEST_TICK = 0.2
# How often to check whether a master that is being replaced has exited: nobody listens until the Emperor is woken. For each such master.
BLINK = 0.001
# A vassal that has not answered a ping after this long is busy.
PONG = 0.2


def run_jobs(host, jobs, timeout, wait=True, clock=_processes.monotonic, sleep=time.sleep):
    """Carries out the jobs' plans and, with `wait`, watches until each is done, has failed or `timeout` seconds went by."""
    if all(job.nothing_to_do for job in jobs):
        # hundreds are not to be looked at once more
        for job in jobs:
            job.after = job.before
            job.done = True
        return
    entered = clock()
    view = host.supervisor.snapshot()
    busy = [job for job in jobs if job.plan.mode in ('restart', 'reload', 'stop')]
    young = [age for job in busy for age in map(_processes.age, job.before.workers) if age is not None and age < SETTLE]
    if young:
        sleep(SETTLE - min(young))
    keep_off_blacklist(host, view, [job for job in busy if job.plan.mode != 'reload'], clock, sleep)
    # The Emperor is woken when all are linked: what it starts would take the processors from what looks at the others.
    for job in jobs:
        if not job.done:
            try:
                job.begin(host, view, clock(), timeout)
            except VassalError as error:
                job.fail(str(error))
            except (IOError, OSError) as error:
                job.fail('its files could not be changed: %s' % refused(error))
                if not job.touched:
                    job.refuse(job.failure, visible(job.failure))
    pending = [job for job in jobs if not job.done and (wait or job.plan.mode)]
    while pending:
        began = clock()
        previous, view = view, host.supervisor.snapshot()
        now = clock()
        for job in pending:
            if view.lost or view.emperor != previous.emperor:
                job.orphan(now)
            if view.pids != previous.pids:
                # 2.0.7 sleeps before each of many that it starts, up to a second
                job.moved(now)
            try:
                job.step(host, view, now, timeout, wait)
            except VassalError as error:
                job.fail(str(error))
            except (IOError, OSError) as error:
                job.fail(refused(error))
            if job.done and not job.failure and job.plan.mode:
                host.files.forget(job.filename)
            job.elapsed = now - entered
        if any(job.to_clear for job in pending):
            # the Emperor's list is forgiven as a whole, once for all
            host.supervisor.clear_blacklist()
            for job in pending:
                job.to_clear = False
        # without waiting, one look wakes the Emperor and one step sends the signals
        pending = [job for job in pending if not job.done] if wait else []
        if pending:
            # a look at hundreds takes time that the Emperor and they need themselves
            pause(min(max(TICK, clock() - began), LONGEST_TICK), [job.replaced for job in pending if job.replaced], clock, sleep)
    for job in jobs:
        if job.only_begins:
            # whoever waits for it has no time to look: what is asked for while this run lasts is not done again
            job.after = copy.copy(job.before)
            job.after.pid, job.after.accepting = job.pid, False
    left = [job for job in jobs if job.after is None]
    if left:
        for job, situation in zip(left, host.situations([job.name for job in left], host.supervisor.snapshot())):
            job.after = situation
            if job.done and not job.failure and job.plan.mode in ('start', 'restart', 'reload'):
                host.note_loaded(situation, clock() - entered - job.elapsed)


def refused(error):
    """What the kernel refused, and of which path where the error knows one."""
    reason = error.strerror or str(error)
    return '%s: %s' % (error.filename, reason) if error.filename else reason


def keep_off_blacklist(host, view, jobs, clock, sleep):
    """Keeps the Emperor from delaying the next start of vassals that end without a request because we ask them to.

    Each such end puts a vassal on its list, or adds a second there. It clears the list when it is told to, but that of 2.0.7 keeps
    its newest vassal there, and all that do not run, until a request: a ping is one that runs nothing of the application.
    """

    listed = [job for job in jobs if job.before.pid and host.supervisor.throttled(job.filename, view)]
    if not listed:
        return
    host.supervisor.clear_blacklist()
    view = host.supervisor.snapshot()
    asked = [job for job in listed if host.supervisor.throttled(job.filename, view) and not host.asleep(job.filename, job.before.pid)]
    pings = [ping for ping in (host.connect(job.filename, job.before.pid, PING) for job in asked) if ping is not None]
    end = clock() + PONG
    # a list, as each of them has to be taken on
    while [ping for ping in pings if not ping.poll()] and clock() < end:
        sleep(BLINK)
    for ping in pings:
        ping.close()


def pause(seconds, ending, clock, sleep):
    """Sleeps this many seconds, or until one of the processes `ending` has ended: the next snapshot makes the Emperor start it again."""
    end = clock() + seconds
    while clock() < end:
        sleep(min(BLINK * len(ending) or seconds, seconds))
        if any(_processes.process(pid) is None for pid in ending):
            break


def lint(host, jobs):
    """Fails the jobs whose configuration uWSGI does not take."""
    starting = [job for job in jobs if job.plan.mode in ('start', 'reload', 'restart')]
    host.configurations.read([(job.filename, job.to_write) for job in starting])
    for job in jobs:
        access = job.access or job.before.access
        # of a file that is only read exposed() tells that
        if job.plan.wants_up and access and (job not in starting or job.to_write is not None):
            said = host.opened(job.before.path, access)
            job.warnings += ['%s: %s.' % (visible(job.name), said)] if said else []
    for job in starting:
        found = host.configurations.lint(job.filename, job.to_write)
        own, others = host.exposed(job.filename, job.to_write, job.env if 'env' in job.plan.actions else None)
        if job.to_write is not None:
            found = found + own
            own = []
        job.warnings += ['%s: %s.' % (visible(job.name), sentence) for sentence in own + others]
        if found:
            job.refuse('its configuration is wrong', '%s: %s' % (visible(job.before.path), '; '.join(found)))


def explain(host, job):
    """The message for a vassal that failed, with the reason and the last lines of its log: what a log says is named as such, or indented."""
    name, failure = visible(job.name), visible(job.failure)
    if not job.plan.wants_up or not job.plan.mode and job.failure != DIES:
        return '%s: %s.' % (name, failure)
    where, lines, reason = host.explain_failure(job.filename, job.began, job.log_offset, dying=job.before.pid is None and not job.born)
    where = visible(where)
    message = '%s: it did not come up: %s.' % (name, failure)
    if reason:
        message += ' %s gives the Reason: %s' % (where, reason)
    if lines:
        message += '\nThe last lines of %s:\n%s' % (where, '\n'.join('  ' + line for line in lines))
    else:
        message += ' Its log %s says nothing; look at: journalctl -u %s' % (where, host.supervisor.journal_of(job.filename))
    return message


def roll_back(host, failed, timeout, sleep=time.sleep):
    """Puts back files and links of vassals that did not come up, and waits for those that ran before."""
    undone = []
    for job in failed:
        if not set(['write', 'env', 'link']) & set(job.plan.actions):
            continue
        view = host.supervisor.snapshot()
        situation = host.situations([job.name], view)[0]
        actions = []
        if 'write' in job.plan.actions:
            if job.before.text is None:
                actions.append('delete')
            else:
                actions.append('write')
        if 'env' in job.plan.actions:
            actions.append('env')
        if 'link' in job.plan.actions and job.before.link in (None, 'dangling') or job.before.shared and job.before.text is None:
            plan = Plan(actions + ['unlink'], 'stop', wants_gone=True)
        else:
            plan = Plan(actions, 'restart' if situation.pid else 'start', wants_up=job.before.pid is not None)
        situation.mtime = job.before.mtime
        was = job.before
        again = Job(situation, plan, was.text, restores=True, access=was.access, env=was.env, env_access=was.env_access)
        undone.append((job, again))
    if not undone:
        return
    host.supervisor.clear_blacklist()
    run_jobs(host, [again for dummy, again in undone], timeout, sleep=sleep)
    for job, again in undone:
        job.after = again.after
        back = 'previous %s is back' % ('environment' if 'env' in job.plan.actions and 'write' not in job.plan.actions else 'file')
        job.unplanned.append('rollback')
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


def execute(host, jobs, timeout, wait=True, sleep=time.sleep):
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
    run_jobs(host, jobs, timeout, wait, sleep=sleep)
    failed = [job for job in jobs if job.failure and not job.explained]
    for job in failed:
        job.explained = explain(host, job)
    roll_back(host, failed, timeout, sleep)
