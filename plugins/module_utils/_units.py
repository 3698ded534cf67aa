# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""systemctl's verbs for one application: the units uwsgi@NAME.service of a host, which stand for the Emperor's vassals.

The links are the truth. A unit is enabled while its vassal's link is there, and active while its vassal accepts requests.
What systemctl asks for is done by verb(), which the unit calls; what happens otherwise, by the module, by hand or by a crash,
watch() sees, one process for all, and has systemd know. The role installs this with what it imports as one program.

Where systemd runs the applications itself, its units need none of this but that links and enabled units agree: settle().
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import shutil
import signal
import subprocess
import sys
import time
import traceback

from ansible.module_utils.common.text.converters import to_native, to_text
from ansible_collections.uwsgi.emperor.plugins.module_utils import _emperor, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._acceptance import UNASKED, accepts
from ansible_collections.uwsgi.emperor.plugins.module_utils._access import settle_access
from ansible_collections.uwsgi.emperor.plugins.module_utils._drive import Job, bring_about
from ansible_collections.uwsgi.emperor.plugins.module_utils._layout import SYSTEMCTL, find_host, layout_spec
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import MARKS, Systemd, name_of, supervises, unit_of, wanted
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import visible, visible_lines
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Plan, VassalError, check_name, make_plan

# The ending of what says that the watcher wants to know how a vassal is, and does not want to enable it; and how long it holds, in seconds.
ASKED = '.asked'
SOON = 10
# What says of a unit that its next stop asks nobody, as its vassal is gone: for a minute, as the unit knows, since a stop of hundreds takes
# some seconds. systemd removes it neither with the Emperor nor with the watcher.
FORGOTTEN = '/run/uwsgi-vassals'
# Where systemctl enable puts its links; nothing starts that target, as the Emperor starts what is enabled.
WANTS = '/etc/systemd/system/uwsgi-vassals.target.wants'
# The watcher's own unit.
WATCHER = 'uwsgi-vassals.service'
# The names that were both linked and enabled when they were looked at last: it tells which of the two changed since. With each name
# stands, for the Emperor's vassals, what tells its two links from others that took their places since.
AGREED = '/var/lib/uwsgi-emperor/enabled'

# The layout is the one that the role makes.
DEFAULTS = dict((option, spec['default']) for option, spec in layout_spec().items())

# All times are in seconds.
TICK = 1.0
# So long a verb waits, for the vassal and for another run: UWSGI_VASSAL_TIMEOUT in the unit's environment says otherwise.
TIMEOUT = int(os.environ.get('UWSGI_VASSAL_TIMEOUT', '').strip().isdigit() and os.environ['UWSGI_VASSAL_TIMEOUT'] or 60)
# So long a run of the module may take.
LONG = 3600
# So long a stop of the Emperor waits for vassals that start.
START = 20
# A vassal that is on the Emperor's blacklist counts as up again once it lived so long.
STEADY = 3.0
# So many looks in a row have to find a vassal down: one that is restarted is down for a moment.
LOOKS = 2
# While a run of the module is at work, systemd is told of what came up, and of what went, only at each such look.
RISES = 30
FALLS = 4
# systemd is asked again after so many looks at least.
RARELY = 5
# A stop that failed is followed for so long, and looked for so often, by what is asked for next.
LINGER = 0.5
BLINK = 0.05
# What systemd's verbs bring a vassal into; a restart is found by systemd's own job.
STATES = dict(start='enabled', stop='disabled', reload='reloaded')
USAGE = """usage: vassal-units watch|calm
       vassal-units start|stop|reload|why UNIT

  watch                   has systemd know how the vassals are, until it is told to end
  calm                    waits until no vassal starts
  start, stop, reload     does that with the vassal of a unit
  why                     says why the application of a unit died

Called by the units uwsgi.service, uwsgi-vassals.service and uwsgi@NAME.service; for other uses there is systemctl.
"""
BUSY = ('activating', 'deactivating', 'reloading')
# Where a link of a unit's name to /dev/null keeps systemd from having that unit, and what such a unit's state is called here.
MASKS = ('/etc/systemd/system', '/run/systemd/system')
MASKED = 'masked'


def decide(linked, enabled, agreed, up, down, crashing, states, rises=True, falls=True, renewed=frozenset()):
    """What to do so that systemd knows of the vassals what is, as pairs of an act and a name; and the names agreed on then.

    linked, enabled, agreed: the names with a link to a file, those that systemctl calls enabled, and those of the last agreement.
    up, down, crashing: the names that accept requests, that have not done so for a while, and of those the ones that the Emperor
    starts again and again.
    states: the ActiveState of the units that systemd has loaded, by name, or MASKED.
    rises, falls: whether to tell systemd of what is up now, and of what is not linked any more. While a run of the module is at work
    that is left for later: of hundreds, it costs as much as they need themselves.
    renewed: the names whose link, or that of systemctl's, is another one than that which was agreed on: it went, and was made again.

    The acts: 'enable' and 'disable' for the link of systemctl's; 'start', 'stop' and 'restart' for the unit; 'end' for a vassal whose
    unit systemd has nothing to stop of; 'notice' for a unit to start and 'forget' for one to stop without asking the vassal; 'reset' for
    one that has failed and whose vassal is not enabled any more.
    """
    acts = []
    agreed = set(agreed)
    for name in sorted(linked | enabled | agreed | set(states)):
        state = states.get(name, 'inactive')
        if state in BUSY:
            continue
        if name in renewed:
            agreed.discard(name)
        if state == MASKED:
            if (name in linked) is (name in enabled):
                # that holds when it is not masked any more
                (agreed.add if name in linked else agreed.discard)(name)
            continue
        if name in linked and name not in enabled and name in agreed:
            agreed.discard(name)
            acts.append(('stop' if state == 'active' else 'end', name))
            continue
        if name in enabled and name not in linked and name not in agreed and state != 'failed':
            # a unit that is active has nothing to start: it was told so in the moment in which somebody stopped it
            acts.append(('forget' if state == 'active' else 'start', name))
            continue
        if name in linked:
            if name not in enabled:
                if not rises:
                    continue
                acts.append(('enable', name))
            agreed.add(name)
            if name in up and state != 'active':
                acts.extend([('notice', name)] if rises else [])
            elif name in down and state == 'active' or name in crashing and state == 'inactive':
                acts.append(('restart', name))
        elif falls:
            if state == 'failed' and name in agreed:
                # a start that failed, of what was not enabled, goes on to say why
                acts.append(('reset', name))
            agreed.discard(name)
            if name in enabled:
                acts.append(('disable', name))
            if state == 'active':
                acts.append(('forget', name))
    return acts, agreed


def decide_links(linked, enabled, agreed):
    """What to do so that links and units that systemd runs itself agree, as pairs of an act and a name; and the names agreed on then.

    linked, enabled, agreed: as decide() takes them.

    The acts: 'enable' for the unit of a new link, and start it; 'disable' for that of one that went, and stop it; 'link' and 'unlink'
    for the link of a unit that systemctl enabled or disabled, which starts and stops nothing.
    """
    acts = []
    for name in sorted(linked ^ enabled):
        if name in linked:
            acts.append(('unlink' if name in agreed else 'enable', name))
        else:
            acts.append(('disable' if name in agreed else 'link', name))
    return acts, linked & enabled | set(name for act, name in acts if act in ('enable', 'link'))


def run_command(argv, cwd=None):
    """(exit code, stdout, stderr) of a command, as AnsibleModule.run_command() has it."""
    return _bounded(argv, cwd=cwd)


_bounded = _emperor.bounded(lambda argv, cwd=None: _processes.run_all([(argv, cwd)])[0], SYSTEMCTL)


def say(line):
    """Into the unit's journal."""
    sys.stdout.write(visible(line) + '\n')
    sys.stdout.flush()


def mark(name, accepts):
    """Sets or removes the mark of a vassal. Returns whether there was one."""
    there = os.path.exists('%s/%s' % (MARKS, unit_of(name)))
    if accepts:
        remember(name)
        _touch(MARKS, unit_of(name))
    elif there:
        os.unlink('%s/%s' % (MARKS, unit_of(name)))
    return there


def forget(name):
    """Has the next stop of a vassal's unit ask nobody, and a start after it the vassal."""
    mark(name, False)
    _touch(FORGOTTEN, unit_of(name))


def remember(name):
    """Has a stop of a vassal's unit ask the vassal again."""
    path = '%s/%s' % (FORGOTTEN, unit_of(name))
    if os.path.exists(path):
        os.unlink(path)


def ask(name):
    """Has the next start of a vassal's unit, and a stop as part of a restart, only look at the vassal, for the watcher."""
    mark(name, False)
    _touch(MARKS, unit_of(name) + ASKED)


def asked(name, last=True):
    """Whether the watcher has asked for what a unit does, a moment ago. It is told but once, to the `last` who wants to know."""
    path = '%s/%s%s' % (MARKS, unit_of(name), ASKED)
    if not os.path.exists(path):
        return False
    age = time.time() - os.stat(path).st_mtime
    if last:
        os.unlink(path)
    return age < SOON


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


def jobs():
    """What systemd has to do, as a dict of its jobs by unit, each a number and a type."""
    lines = [line.split() for line in run_command(['systemctl', 'list-jobs', '--no-legend', '--no-pager'])[1].split('\n')]
    return dict((words[1], (words[0], words[2])) for words in lines if len(words) > 2)


def emperor_ends(waiting):
    """Whether the Emperor is to stop or to restart, by the jobs that wait or run."""
    return waiting.get('uwsgi.service', (None, None))[1] in ('stop', 'restart') or 'shutdown.target' in waiting


def asked_for(name, otherwise=None):
    """The state that systemd's job for a unit stands for; None for a vassal that stops with its Emperor, `otherwise` without such a job."""
    waiting = jobs()
    dummy, own = waiting.get(unit_of(name), (None, None))
    if own in ('restart', 'try-restart'):
        return 'restarted'
    if emperor_ends(waiting):
        # it is enabled when that starts again
        return None
    return 'disabled' if own == 'stop' else otherwise


def watched_over():
    """Whether the watcher is there."""
    return not run_command(['systemctl', '-q', 'is-active', WATCHER])[0]


def call_off(name):
    """Has systemctl stop and systemctl restart fail, and no start follow: systemd takes no notice of an ExecStop that does."""
    number, dummy = jobs().get(unit_of(name), (None, None))
    if number:
        run_command(['systemctl', 'cancel', number])


def asked_again(name, sleep=time.sleep):
    """The state that a unit whose stop was called off is asked for next, in the moment in which it has not ended yet; None for none.

    It would not be asked: for systemd its stop is under way.
    """
    end = _processes.monotonic() + LINGER
    while _processes.monotonic() < end:
        number, kind = jobs().get(unit_of(name), (None, None))
        if kind in ('stop', 'restart', 'try-restart'):
            return asked_for(name)
        if kind not in (None, 'start'):
            # a reload comes to nothing
            run_command(['systemctl', 'cancel', number])
        sleep(BLINK)
    return None


def reactivate(name):
    """Has the unit of a vassal that goes on to accept requests active as soon as it has ended: one that has failed can not be asked to stop."""
    host = find_host(run_command, DEFAULTS)
    if host.emperor and name in host.enabled() and host.situations([name], host.look())[0].accepting:
        mark(name, True)
        run_command(['systemctl', '-q', 'start', '--no-block', unit_of(name)])


def verb(word, instance):
    """Does what a unit is asked for: start, stop or reload. Returns the exit code.

    A restart is done while systemd stops the unit: so the link stays, and only the vassal's processes are replaced. What systemd was
    asked for meanwhile is done then: it does not ask again.
    """
    name = check_name(name_of(instance))
    told = Told()
    # the unit's KillSignal, which nobody minds who does not know it
    signal.signal(signal.SIGWINCH, told)
    state = STATES[word]
    watched = word == 'start' and asked(name)
    wanted_now = asked_for(name, state)
    if wanted_now or word == 'stop':
        # a start or reload may have been cut off already
        state = wanted_now
    if word == 'start':
        remember(name)
    elif word == 'stop':
        if wanted_now == 'restarted' and asked(name, last=False):
            return 0
        # with one, a start that follows would ask nobody
        marked = mark(name, False)
        if wanted_now and not marked and not watched_over():
            # a watcher that ends has all units stopped: one of a former release only removes the marks, and what says more may be lost
            call_off(name)
            raise VassalError('%s: its mark is gone, and so is %s: nothing was done. Try again' % (to_native(name), WATCHER))
    failed = False
    while state:
        done = None
        try:
            carry_out(name, state, watched, told)
            done = state
        except CutOff:
            say('%s: it is asked for something else than to be %s' % (to_native(name), state))
        except Exception as error:  # pylint: disable=broad-except
            if state not in ('disabled', 'restarted'):
                raise
            failed = True
            if not isinstance(error, VassalError):
                traceback.print_exc()
            complain(error)
            call_off(name)
            state = asked_again(name)
            continue
        failed = False
        if word == 'reload' and supervises():
            break
        state = asked_for(name, state)
        if state == done:
            break
    if failed:
        reactivate(name)
    return int(failed)


def carry_out(name, state, watched, told):
    """Brings a vassal into a state, and has systemd know.

    watched: it is the watcher that wants to know how it is.
    """
    host = find_host(run_command, DEFAULTS)
    by_systemd = isinstance(host, Systemd)
    if not host.emperor and state != 'disabled':
        raise VassalError('%s: %s: %s' % (to_native(name), host.down, host.why_down))
    lock = None
    try:
        job = plan(host, name, state, watched)
        if job.plan.changed and (job.plan.mode != 'start' or 'link' in job.plan.actions):
            # otherwise it is only waited for, which others may do at the same time
            lock = host.lock(TIMEOUT, say, told.sleep)
            job = plan(host, name, state, watched)
        if watched and 'link' in job.plan.actions:
            # it was disabled since, and the watcher will see that
            say('%s is not enabled any more' % to_native(name))
            return
        bring_about(host, [job], TIMEOUT, sleep=told.sleep)
    finally:
        if lock is not None:
            os.close(lock)
    for warning in job.warnings:
        say(warning)
    if not by_systemd:
        good = job.after is not None and job.after.accepting and not job.failure
        if good or state != 'reloaded':
            # a unit whose reload failed is still active, and is asked when it stops
            mark(name, good)
        linked = name in host.enabled()
        if linked != (unit_of(name) in _entries(WANTS)):
            run_command(['systemctl', 'enable' if linked else 'disable', unit_of(name)])
        if state == 'disabled' and not job.failure and unit_of(name) not in jobs():
            # the watcher asks beside the unit, which may have failed
            run_command(['systemctl', '-q', 'reset-failed', unit_of(name)])
    if job.failure:
        raise VassalError(job.explained)
    what = 'accepts requests, as process %d' % job.after.pid if job.after.pid else 'is stopped'
    say('%s %s (%s, %.1f s)' % (to_native(name), what, ', '.join(job.plan.actions) or 'nothing to do', job.elapsed))


def plan(host, name, state, watched=False):
    situation = host.situations([name], host.look())[0]
    if isinstance(host, Systemd):
        # its links are for enable and disable alone
        if not situation.pid:
            raise VassalError('%s does not run; start it with: systemctl start %s' % (to_native(name), unit_of(name)))
        path = '%s/%s' % (_processes.started_in(situation.pid), situation.filename)
        if not os.path.exists(path):
            raise VassalError(
                '%s: it runs by %s, which is gone, and would end with a reload, as uWSGI reads that again. Nothing was changed; '
                'enable it again, or restart it.' % (to_native(name), path)
            )
        result = Job(situation, Plan(['reload'], 'reload', wants_up=True))
        settle_access(situation, result.plan, identity=host.identity(result.filename))
        if result.plan.mode != 'reload':
            raise VassalError(
                '%s: it would not outlive a reload or not do what that is for: its user can not read its file, or its configuration names another '
                'user or group. Nothing was changed; do this: systemctl restart %s' % (to_native(name), unit_of(name))
            )
        return result
    if state == 'enabled' and not watched and situation.pid and host.lost_socket(situation.filename):
        # nothing else brings it back
        state = 'restarted'
    result = Job(situation, make_plan(situation, state))
    settle_access(situation, result.plan, identity=host.identity(result.filename) if result.plan.mode == 'reload' else None)
    if result.plan.mode == 'start':
        host.refuse_twin(name)
    return result


class Watcher(object):
    """Looks at the vassals and at their units, and has systemd know what changed."""

    def __init__(self, host):
        self.host = host
        self.agreed = _agreement()  # name -> what tells the link and systemctl's from others, None for each that was not there
        self._files = {}  # name -> file name of what is linked
        self._down_for = {}  # name -> looks in a row that found it down
        self._ends = {}  # name -> process that stops it
        self._ticks = 0
        self._settled = None  # what was found when nothing was to do
        self._lost = {}  # file name -> process, and whether its socket is gone
        self._masked = set()
        self._refused = set()  # what systemctl has refused, and was told
        self._busy_for = 0  # looks in a row that found a run of the module at work

    def look(self):
        """(linked, up, down, crashing): sets of names, as decide() takes them."""
        view = self.host.look()
        files = self._files = self.host.enabled()
        linked = set(files)
        up, crashing = set(), set()
        for name, filename in files.items():
            pid = view.pids.get(filename)
            listed = filename in view.blacklist
            if pid and (not listed or (_processes.age(pid) or 0) > STEADY) and self._accepts(view, filename, pid) and self._reachable(filename, pid):
                up.add(name)
            elif listed:
                crashing.add(name)
        self._down_for = dict((name, self._down_for.get(name, 0) + 1) for name in linked - up)
        down = set(name for name, looks in self._down_for.items() if looks >= LOOKS)
        return linked, up, down, crashing & down

    def _accepts(self, view, filename, pid):
        return accepts(view.accepting(filename), self.host.asleep(filename, pid), UNASKED, lambda: self.host.settled(pid))

    def _reachable(self, filename, pid):
        """Whether a vassal's socket is there. Its configuration is asked only where the usual one is not, and once for each process."""
        if os.path.lexists(self.host.usual_socket(filename)):
            return True
        if self._lost.get(filename, (None,))[0] != pid:
            self.host.forget(filename)
            self._lost[filename] = pid, self.host.lost_socket(filename)
        return not self._lost[filename][1]

    def tick(self):
        self._ticks += 1
        linked, up, down, crashing = self.look()
        enabled = set(name_of(unit) for unit in _entries(WANTS))
        links = dict((name, self._links(name)) for name in linked | enabled)
        found = linked, enabled, up, down, crashing, links
        if found == self._settled and self._ticks % RARELY:
            return
        states = self.states()
        states.update((name, 'deactivating') for name, process in self._ends.items() if process.poll() is None)
        for name, state in states.items():
            if state in BUSY:
                # whoever is at work on it waits for it: only from then on it counts as down
                self._down_for.pop(name, None)
        states.update((name, MASKED) for name in self.masked())
        busy = self.host.busy()
        self._busy_for = self._busy_for + 1 if busy else 0
        renewed = set(name for name in links if _renewed(self.agreed.get(name), links[name]))
        acts, names = decide(
            linked, enabled, set(self.agreed), up, down, crashing, states, self._busy_for % RISES == 0, self._busy_for % FALLS == 0, renewed
        )
        self._settled = None if acts or busy or set(states.values()) & set(BUSY) else found
        agreed = {}
        for name in names - self.act(acts):
            kept = states.get(name) in BUSY or name not in renewed and not (name in linked and name in enabled)
            agreed[name] = self.agreed[name] if kept and name in self.agreed else links.get(name, (None, None))
        if agreed != self.agreed:
            self.agreed = agreed
            _write_lines(AGREED, [' '.join([name] + [one or '-' for one in agreed[name]]) for name in agreed])

    def _links(self, name):
        """What tells a vassal's link, and that of systemctl's, from others that take their places; None for one that is not there."""
        filename = self._files.get(name)
        return filename and _identity('%s/%s' % (self.host.enabled_dir, filename)), _identity('%s/%s' % (WANTS, unit_of(name)))

    @staticmethod
    def states():
        dummy, out, dummy = run_command(['systemctl', 'show', '-p', 'Id', '-p', 'ActiveState', 'uwsgi@*.service'])
        return dict((name_of(unit['Id']), unit['ActiveState']) for unit in _emperor.blocks(out) if 'Id' in unit)

    def masked(self):
        """The names of the units that are masked."""
        found = set()
        for directory in MASKS:
            entries = [entry for entry in _entries(directory) if entry.startswith('uwsgi@') and entry.endswith('.service')]
            found.update(name_of(entry) for entry in entries if os.path.realpath('%s/%s' % (directory, entry)) == os.devnull)
        for name in sorted(found - self._masked):
            say('%s is masked: systemd is told nothing of it, and %s goes on as its link says' % (unit_of(name), to_native(name)))
        self._masked = found
        return found

    def act(self, acts):
        """Carries out what decide() said: one systemctl for all of a kind. Returns the names that systemctl did not enable.

        Agreed on and not enabled, these would be taken for what somebody has disabled since.
        """
        left = set()
        for act, name in acts:
            if act == 'notice':
                mark(name, True)
            elif act == 'restart':
                ask(name)
            elif act == 'end':
                # beside: it may take a while
                self._ends[name] = subprocess.Popen([sys.argv[0], 'stop', unit_of(name)])  # pylint: disable=ansible-bad-function
        for command, kinds in (
            (['enable'], ['enable']),
            (['disable'], ['disable']),
            (['reset-failed'], ['reset']),
            (['stop', '--no-block'], ['stop', 'forget']),
            (['restart', '--no-block'], ['restart']),
            (['start', '--no-block'], ['start', 'notice']),
        ):
            units = [unit_of(name) for act, name in acts if act in kinds]
            if units:
                line = '%s %s' % (command[0], ' '.join(units))
                gone = [name for act, name in acts if act == 'forget' and act in kinds]
                for name in gone:
                    # only now, as what systemctl did before may have taken long
                    forget(name)
                code, dummy, err = run_command(['systemctl'] + command + units)
                for name in gone if code else []:
                    remember(name)
                if code and command[0] == 'enable':
                    left.update(name for act, name in acts if act == 'enable')
                if not code:
                    self._refused.discard(line)
                    say(line)
                elif line not in self._refused:
                    self._refused.add(line)
                    say('%s: %s' % (line, err.strip()))
        return left

    def end(self):
        """Without the Emperor no vassal runs, and without a watcher nobody tells systemd whether one does."""
        waiting = jobs()
        if waiting.get(WATCHER, (None, None))[1] == 'restart' and not emperor_ends(waiting) and _processes.process(self.host.emperor or 0):
            # the next one finds them as they are; a unit that is not active can not be asked to stop meanwhile
            return
        # systemd removes them, too, with the Emperor's runtime directory
        shutil.rmtree(MARKS, ignore_errors=True)
        names = sorted(name for name, state in self.states().items() if state == 'active')
        for name in names:
            _touch(FORGOTTEN, unit_of(name))
        if names:
            run_command(['systemctl', 'stop', '--no-block'] + [unit_of(name) for name in names])


def settle(host):
    """Has links and the units of systemd agree."""
    # a run of the module makes the one after the other
    lock = host.lock(LONG)
    try:
        acts, agreed = unsettled(host)
        linked, available = host.enabled(), host.available()
        for act, name in acts:
            filename = linked.get(name) or available.get(name) or name + '.ini'
            say('%s %s' % (act, to_native(name)))
            if act == 'enable':
                host.order(filename, 'enable')
                host.start(filename)
            elif act == 'disable':
                host.order(filename, 'disable', 'stop')
            elif act == 'unlink':
                host.remove_link(filename)
            else:
                host.link(filename)
        host.wake()
        _write_lines(AGREED, agreed)
    finally:
        os.close(lock)


def why(instance):
    """Says of an application that systemd runs why it died. Returns the exit code."""
    name = check_name(name_of(instance))
    host = find_host(run_command, dict(DEFAULTS, supervisor='systemd'))
    filename = host.enabled().get(name) or host.available().get(name)
    if filename:
        where, lines, reason = host.story(filename, int(host.begun(filename)), None)
        for line in lines[-12:]:
            # so that none is taken for what the unit says itself
            say('  ' + line)
        if reason:
            say('%s gives the Reason: %s' % (visible(where), reason))
    return 0


def unsettled(host):
    """What settle() would do, and the names agreed on then."""
    linked, agreed = set(host.enabled()), _lines(AGREED)
    # nothing is linked to a file that is not there
    enabled = set(map(name_of, wanted())) & (set(host.available()) | linked | agreed)
    return decide_links(linked, enabled, agreed)


def follow(host):
    """Goes on until it is told to end: has links and the units of systemd agree."""
    found = known = None
    while True:
        former, found = found, unsettled(host)
        # twice in a row: a file that is replaced is away for a moment
        if found == former and found != ([], _lines(AGREED)):
            settle(host)
        units = wanted()
        if units != known and not host.busy():
            known = units
            read_units()
        time.sleep(TICK)


def read_units():
    """Has systemd read its files if links for enabled units have changed: from Debian 13 on each of its commands warns otherwise.

    A run of the module leaves that out, as it takes half a second and more.
    """
    if run_command(['systemctl', 'show', '-p', 'NeedDaemonReload', 'uwsgi-vassals.service'])[1].strip().endswith('=yes'):
        run_command(['systemctl', 'daemon-reload'])


def calm():
    """Waits until no vassal starts, at most START seconds: before the Emperor is stopped. Returns the exit code.

    One that is told to end while it starts does so once it has started; its workers, in their first instants, may miss it, and the
    Emperor waits for them until its mercy is over, with all others down. Till then all of them go on to serve.
    """
    host = find_host(run_command, dict(DEFAULTS, supervisor='emperor'))
    end = _processes.monotonic() + START
    while _processes.monotonic() < end:
        view = host.look()
        if not any(starting(pid) for filename, pid in view.pids.items() if filename not in view.blacklist):
            break
        time.sleep(0.1)
    return 0


def starting(pid):
    """Whether a vassal has not made its workers yet, or a moment ago."""
    ages = [age for age in map(_processes.age, _processes.children(pid)) if age is not None]
    if ages:
        return min(ages) < _emperor.SETTLE
    # it loads the application, or has no workers at all
    age = _processes.age(pid)
    return age is not None and age < START


def _touch(directory, name):
    if not os.path.isdir(directory):
        os.makedirs(directory)
    with open('%s/%s' % (directory, name), 'w'):
        # the time counts, which is not that of an empty file that was there
        os.utime('%s/%s' % (directory, name), None)


def _entries(directory):
    return os.listdir(directory) if os.path.isdir(directory) else []


def _identity(path):
    """What tells a link from another of its name, None where there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return '%d:%.6f' % (found.st_ino, found.st_ctime)


def _renewed(former, links):
    """Whether one of two links is another than it was; of one that was not there, or that nobody knows, that can not be told."""
    return bool(former) and any(None not in pair and pair[0] != pair[1] for pair in zip(former, links))


def _agreement():
    """The names agreed on, each with what tells its links from others; a former release wrote the names alone."""
    found = {}
    for line in _read_lines(AGREED):
        words = [None if word == '-' else word for word in line.split() + ['-', '-']]
        found[to_text(words[0])] = tuple(words[1:3])
    return found


def _lines(path):
    return set(to_text(line.split()[0]) for line in _read_lines(path))


def _read_lines(path):
    if not os.path.exists(path):
        return []
    with open(path) as handle:
        return [line for line in handle.read().split('\n') if line.strip()]


def _write_lines(path, lines):
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    with open(path + '.new', 'w') as handle:
        handle.write(''.join('%s\n' % to_native(line) for line in sorted(lines)))
    os.rename(path + '.new', path)


def watch():
    """Goes on until it is told to end."""

    def stop(dummy, frame):
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    host = find_host(run_command, DEFAULTS)
    if not host.emperor:
        raise VassalError('%s: %s' % (host.down, host.why_down))
    if isinstance(host, Systemd):
        follow(host)
    watcher = Watcher(host)
    try:
        while True:
            watcher.tick()
            time.sleep(TICK)
    finally:
        watcher.end()


def main(arguments):
    """The program, see USAGE. Returns the exit code."""
    word, instances = (list(arguments) + [None])[0], arguments[1:]
    try:
        if word in ('watch', 'calm') and not instances:
            return dict(watch=watch, calm=calm)[word]()
        if word == 'why' and len(instances) == 1:
            return why(*instances)
        if word in STATES and len(instances) == 1:
            return verb(word, *instances)
    except VassalError as error:
        complain(error)
        return 1
    sys.stderr.write(USAGE)
    return 2


def complain(error):
    """Says into the unit's journal what went wrong: systemctl status shows the last lines, and the first one says most."""
    lines = visible_lines(to_native(error))
    sys.stderr.write(''.join('%s\n' % line for line in lines[1:] + lines[:1]))
