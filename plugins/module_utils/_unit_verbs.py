# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What systemd's units call for one application or the Emperor: systemctl's verbs, and what comes before and after them.

What systemctl asks for is done by run_verb(), which the unit calls. The role installs this with what it imports as one program.

A long file, as the cases in which systemd cuts off one verb by another belong together.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import functools
import os
import signal
import sys
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _files, _processes, _units
from ansible_collections.uwsgi.emperor.plugins.module_utils._access import settle_access
from ansible_collections.uwsgi.emperor.plugins.module_utils._execute import execute
from ansible_collections.uwsgi.emperor.plugins.module_utils._hand_over import hand_over
from ansible_collections.uwsgi.emperor.plugins.module_utils._host import SETTLE, Host, find_host
from ansible_collections.uwsgi.emperor.plugins.module_utils._job import Job
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import Systemd, name_of, socket_of, supervises, unit_of
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, visible, visible_lines
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Plan, VassalError, check_name, make_plan
from ansible_collections.uwsgi.emperor.plugins.module_utils._watcher import watch

# All times are in seconds.
# How long a verb waits for the vassal, and for another run: UWSGI_VASSAL_TIMEOUT in the unit's environment says otherwise.
TIMEOUT = int(os.environ.get('UWSGI_VASSAL_TIMEOUT', '').strip().isdigit() and os.environ['UWSGI_VASSAL_TIMEOUT'] or 60)
# How long a stop of the Emperor waits for vassals that start.
START = 20
# How long what is asked for next may take to follow a stop that failed, and how often to look for it.
LINGER = 0.5
BLINK = 0.05
# What systemd's verbs bring a vassal into; a restart is found by systemd's own job.
STATES = dict(start='enabled', stop='disabled', reload='reloaded')
USAGE = """usage: vassal-units watch|calm
       vassal-units start|stop|reload|cut-off|renew|why UNIT
       vassal-units hand-over emperor|systemd [UNIT]... [-- NAME...]

  watch                   keeps systemd up to date on the vassals, until it is stopped
  calm                    waits until no vassal starts
  start, stop, reload     does that with the vassal of a unit
  cut-off                 stops or restarts the vassal of a unit of which systemd has cut off a start or reload too late for that to notice
  renew                   opens the socket of a unit again if its application is to run as another user than before
  why                     says why the application of a unit died
  hand-over               makes the Emperor or systemd run what other services, and the units given, run so far; all that is enabled but
                          for the names given

Called by the units uwsgi.service, uwsgi-vassals.service and uwsgi@NAME.service, and by the role uwsgi.emperor.emperor; for other uses there
is systemctl.
"""


class CutOff(Exception):
    """systemd wants something else of a unit than what is being done."""


class Told(object):
    """Whether systemd has sent its signal, as it does where a unit that starts, or is reloaded, is to stop or to restart."""

    def __init__(self):
        self.told = False

    def __call__(self, number, frame):
        self.told = True

    def sleep(self, seconds):
        """Sleeps between two steps; there, and nowhere else, what is being done can be left."""
        time.sleep(seconds)
        if self.told:
            self.told = False
            raise CutOff()


def find_job(name, otherwise=None):
    """(state, job): what systemd's job for a unit stands for, and what tells that job from others, '' for one that cuts nothing off.

    The state is None for a vassal that stops with its Emperor, `otherwise` without such a job.
    """
    waiting = _units.jobs()
    number, own = _units.job_of(unit_of(name), waiting)
    if own in ('restart', 'try-restart'):
        return 'restarted', '%s %s' % (number, own)
    ends = _units.emperors_end(waiting)
    if own == 'stop' and (not ends or ends == 'restart' and not _units.is_forgotten(name)):
        return 'disabled', '%s %s' % (number, own)
    # a vassal that stops with its Emperor is enabled when that starts again
    return None if ends else otherwise, ''


def watched_over():
    """Whether the watcher is there."""
    return not _units.run_command(['systemctl', '-q', 'is-active', _units.WATCHER])[0]


def call_off(name):
    """Makes systemctl stop and systemctl restart fail, and no start follow: systemd takes no notice of an ExecStop that does."""
    number, dummy = _units.job_of(unit_of(name), _units.jobs())
    if number:
        _units.run_command(['systemctl', 'cancel', number])


def asked_again(name, sleep=time.sleep):
    """The state that a unit whose stop was called off is asked for next, in the moment in which it has not ended yet; None for none.

    It would not be asked: for systemd its stop is under way.
    """
    end = _processes.monotonic() + LINGER
    while _processes.monotonic() < end:
        number, kind = _units.job_of(unit_of(name), _units.jobs())
        if kind in ('stop', 'restart', 'try-restart'):
            return find_job(name)[0]
        if kind not in (None, 'start'):
            # a reload comes to nothing
            _units.run_command(['systemctl', 'cancel', number])
        sleep(BLINK)
    return None


def accepting(name):
    """Whether a vassal is enabled and accepts requests."""
    host = find_host(_units.run_command, _units.DEFAULTS)
    return bool(host.supervisor.pid and name in host.files.enabled() and host.situations([name], host.supervisor.snapshot())[0].accepting)


def reactivate(name):
    """Starts the unit of a vassal that still accepts requests as soon as the unit has ended: a failed unit can not be asked to stop."""
    if accepting(name):
        _units.mark(name, True)
        _units.run_command(['systemctl', '-q', 'start', '--no-block', unit_of(name)])


def run_verb(word, instance):
    """Does what a unit is asked for: start, stop, reload or cut-off. Returns the exit code.

    A restart begins while systemd stops the unit: so the link stays, and only the vassal's processes are replaced. What systemd was asked for
    meanwhile is done then: it does not ask again. The start of the unit waits for the new process: another restart cuts that off, where
    systemd would take it for a part of one that still stops.
    """
    name = check_name(name_of(instance))
    if word == 'cut-off':
        answered = _units.end_work(name)
        state, job = find_job(name)
        if not state or job == answered:
            return 0
        _units.say('%s: it is asked to be %s' % (to_native(name), state))
    _units.begin_work(name)
    failed = 1
    try:
        failed = _run_verb(word, name)
        return failed
    finally:
        if failed or word in ('stop', 'cut-off'):
            # systemd runs nothing that would
            _units.end_work(name)


def _run_verb(word, name):
    told = Told()
    # the unit's KillSignal, which nobody minds who does not know it
    signal.signal(signal.SIGWINCH, told)
    state = STATES.get(word)
    watched = word == 'start' and _units.asked(name)
    resumes = _units.restarts(name) if word == 'start' else None
    stops = word in ('stop', 'cut-off')
    wanted_now, job = find_job(name, state)
    if wanted_now or stops:
        # a start or reload may have been cut off already
        state = wanted_now
    if word == 'start':
        _units.remember(name)
    elif stops:
        if wanted_now == 'restarted' and _units.asked(name, last=False):
            return 0
        # with one, a start that follows would ask nobody
        marked = _units.mark(name, False)
        if wanted_now and not marked and not watched_over():
            # a watcher that ends has all units stopped: one of a previous release only removes the marks, and what says more may be lost
            call_off(name)
            raise VassalError('%s: its mark is gone, and so is %s: nothing was done. Try again' % (to_native(name), _units.WATCHER))
    failed = False
    while state:
        done = None
        try:
            carry_out(name, state, watched, told, resumes)
            done = state
            if job and not stops:
                _units.begin_work(name, job)
        except CutOff:
            _units.say('%s: it is asked for something else than to be %s' % (to_native(name), state))
        except Exception as error:  # pylint: disable=broad-except
            if state not in ('disabled', 'restarted') and not (resumes and accepting(name)):
                raise
            failed = True
            if not isinstance(error, VassalError):
                sys.excepthook(*sys.exc_info())
            complain(error)
            call_off(name)
            if word == 'start' and state == 'enabled':
                # what was asked for has failed, by that; and the unit is what its vassal is
                _units.mark(name, True)
                return 0
            state = asked_again(name)
            continue
        failed = False
        if word == 'reload' and supervises():
            break
        state, job = find_job(name, state)
        if state == done:
            break
    if failed:
        reactivate(name)
    return int(failed)


def carry_out(name, state, watched, told, resumes=None):
    """Brings a vassal into a state, and has systemd know; of a restart, so far that the new process is there.

    watched: it is the watcher that wants to know how it is. resumes: what was noted of a restart that is to be waited for.
    """
    host = find_host(_units.run_command, _units.DEFAULTS)
    by_systemd = isinstance(host.supervisor, Systemd)
    if not host.supervisor.pid and state != 'disabled':
        raise VassalError('%s: %s: %s' % (to_native(name), host.supervisor.down, host.supervisor.why_down))
    lock = None
    try:
        job = plan(host, name, state, watched, resumes)
        if job.plan.changed and (job.plan.mode != 'start' or 'link' in job.plan.actions):
            # otherwise it is only waited for, which others may do at the same time
            lock = host.files.lock(TIMEOUT, _units.say, told.sleep)
            job = plan(host, name, state, watched, resumes)
        if watched and 'link' in job.plan.actions:
            # it was disabled since, and the watcher will see that
            _units.say('%s is not enabled any more' % to_native(name))
            return
        execute(host, [job], TIMEOUT, sleep=told.sleep)
    finally:
        if lock is not None:
            os.close(lock)
    for warning in job.warnings:
        _units.say(warning)
    if not by_systemd:
        good = job.after is not None and job.after.accepting and not job.failure and not job.only_begins
        if job.only_begins and not job.failure:
            _units.note_restart(name, job.log_offset, job.began)
        if good or state != 'reloaded':
            # a unit whose reload failed is still active, and is asked when it stops
            _units.mark(name, good)
        linked = name in host.files.enabled()
        if linked != (unit_of(name) in _files.entries(_units.WANTS)):
            _units.run_command(['systemctl', 'enable' if linked else 'disable', unit_of(name)])
        if host.supervisor.pid and not linked and not watched and unit_of(name) not in _files.entries(_units.WANTS):
            # a start that fails right after a stop stays failed: it is not what was enabled once, and is disabled now; a start by which the
            # watcher asks is no failure once its vassal is disabled
            _units.switch_off(name)
        if state == 'disabled' and not job.failure and unit_of(name) not in _units.jobs():
            # the watcher asks beside the unit, which may have failed
            _units.run_command(['systemctl', '-q', 'reset-failed', unit_of(name)])
    if job.failure:
        raise VassalError(job.explained)
    does = 'restarts' if job.only_begins else 'accepts requests'
    what = '%s, as process %d' % (does, job.after.pid) if job.after.pid else 'is stopped'
    _units.say('%s %s (%s, %.1f s)' % (to_native(name), what, ', '.join(job.actions) or 'nothing to do', job.elapsed))


def plan(host, name, state, watched=False, resumes=None):
    situation = host.situations([name], host.supervisor.snapshot())[0]
    if isinstance(host.supervisor, Systemd):
        # its links are for enable and disable alone
        if not situation.pid:
            raise VassalError('%s does not run; start it with: systemctl start %s' % (to_native(name), unit_of(name)))
        directory = _processes.started_in(situation.pid)
        path = '%s/%s' % (directory, situation.filename)
        # another one is what its process has made of its environment
        if directory in ('.', host.files.enabled_dir, host.files.available_dir) and not os.path.exists(path):
            raise VassalError(
                '%s: it runs by %s, which is gone, and would end with a reload, as uWSGI reads that again. Nothing was changed; '
                'enable it again, or restart it.' % (to_native(name), visible(path))
            )
        result = Job(situation, Plan(['reload'], 'reload', wants_up=True))
        result.plan = settle_access(situation, result.plan, identity=host.identity(result.filename))
        if result.plan.mode != 'reload':
            raise VassalError(
                '%s: it would not outlive a reload or not do what that is for: its user can not read its file, or its configuration names another '
                'user or group. Nothing was changed; do this: systemctl restart %s' % (to_native(name), unit_of(name))
            )
        return result
    begins_only = state == 'restarted'
    if state == 'enabled' and not watched and not resumes and situation.pid and host.lost_socket(situation.filename):
        # nothing else brings it back
        state = 'restarted'
    result = Job(situation, make_plan(situation, state))
    result.begins_only = begins_only
    if state == 'enabled' and resumes:
        result.resumes = resumes
        if not result.plan.actions:
            # whatever it accepts, it is looked at as one that starts
            result.plan = Plan(['restart'], 'start', wants_up=True)
    result.plan = settle_access(situation, result.plan, identity=host.identity(result.filename) if result.plan.mode == 'reload' else None)
    if result.plan.mode == 'start':
        host.supervisor.refuse_if_served(name)
    return result


def renew_socket(instance):
    """Opens the socket of an application again that is to run as another user than before. Returns the exit code.

    A process of the previous user may have the socket open, and would take requests. systemd ends the unit that calls this, and starts it again.
    The unit calls this where a file is newer than the note of the user: that of a user who stays gets the time of this look.
    """
    name = check_name(name_of(instance))
    began = time.time()
    was = _files.user_noted(name)
    layout = _units.DEFAULTS
    files = _files.Files(layout['available_dir'], layout['enabled_dir'])
    filename = files.enabled().get(name) or files.available().get(name)
    # systemd itself asks: without find(), which would ask systemd while nobody answers
    host = Host(Systemd(_units.run_command, layout['unit'], files, layout['defaults']))
    user = host.configurations.user(filename) if filename else was
    if user == was:
        if was:
            _files.date_note(name, was, began)
        return 0
    as_whom = 'is to run as %s' % user if user else 'it can not be told as whom it is to run'
    _units.say('It ran as %s, and %s: systemd opens its socket again' % (was, as_whom))
    if user and was:
        host.move_log(filename, was)
    dummy, dummy, err = _units.run_command(['systemctl', 'restart', socket_of(name)])
    raise VassalError('%s: systemd has not opened its socket again: %s' % (to_native(name), err.strip()))


def explain_exit(instance):
    """Says of an application that systemd runs why it died. Returns the exit code."""
    name = check_name(name_of(instance))
    host = find_host(_units.run_command, dict(_units.DEFAULTS, supervisor='systemd'))
    filename = host.files.enabled().get(name) or host.files.available().get(name)
    if filename:
        where, lines, reason = host.explain_failure(filename, int(host.supervisor.begun(filename)), None)
        for line in lines:
            # so that none is taken for what the unit says itself
            _units.say('  ' + line)
        if reason:
            _units.say('%s gives the Reason: %s' % (visible(where), reason))
    return 0


def wait_for_starts():
    """Waits until no vassal starts, at most START seconds: before the Emperor is stopped. Returns the exit code.

    A vassal that is stopped while it starts ends once it has started; its workers, in their first instants, may miss the signal, and the
    Emperor waits for them until its mercy is over, with all others down. Till then all of them keep serving.
    """
    host = find_host(_units.run_command, dict(_units.DEFAULTS, supervisor='emperor'))
    end = _processes.monotonic() + START
    while _processes.monotonic() < end:
        view = host.supervisor.snapshot()
        if not any(starting(pid) for filename, pid in view.pids.items() if filename not in view.blacklist):
            break
        time.sleep(0.1)
    return 0


def starting(pid):
    """Whether a vassal has not made its workers yet, or a moment ago."""
    ages = [age for age in map(_processes.age, _processes.workers(pid)) if age is not None]
    if ages:
        return min(ages) < SETTLE
    # it loads the application, or has no workers at all
    age = _processes.age(pid)
    return age is not None and age < START


def find_call(word, given):
    """The function that a call of the program asks for, see USAGE; None for none."""
    if word in ('watch', 'calm') and not given:
        return dict(watch=watch, calm=wait_for_starts)[word]
    if word in ('renew', 'why') and len(given) == 1:
        return functools.partial(dict(renew=renew_socket, why=explain_exit)[word], *given)
    if word in list(STATES) + ['cut-off'] and len(given) == 1:
        return functools.partial(run_verb, word, *given)
    if word == 'hand-over' and given[:1] in (['emperor'], ['systemd']):
        units = given[1 : given.index('--')] if '--' in given else given[1:]
        return functools.partial(hand_over, given[0], units, given[len(units) + 2 :])
    return None


def main(arguments):
    """The program, see USAGE. Returns the exit code."""
    call = find_call((list(arguments) + [None])[0], list(arguments[1:]))
    if call is None:
        sys.stderr.write(USAGE)
        return 2
    if os.geteuid() != 0:
        sys.stderr.write('vassal-units: root is needed to see and to change what runs. Nothing was changed.\n')
        return 1
    try:
        return call()
    except VassalError as error:
        complain(error)
        return 1


def complain(error):
    """Says into the unit's journal what went wrong: systemctl status shows the last lines, and the first one says most."""
    lines = visible_lines(to_native(error))
    sys.stderr.write(''.join('%s\n' % line for line in lines[1:] + lines[:1]))
