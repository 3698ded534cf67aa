# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an administrator on the host does and sees by systemctl: uwsgi@NAME agrees with the link and with the module."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import BY_ROLE, PLUGIN, ad_hoc, drive, playbook

SCENARIOS = ['jessie', 'units']

LINK = '/etc/uwsgi/apps-enabled/%s.ini'
FILE = '/etc/uwsgi/apps-available/%s.ini'
DROP_IN = '/run/systemd/system/uwsgi.service.d'
# In seconds. The truth is there after one to three; beside other scenarios on a small machine all takes longer.
PATIENCE = 20.0


def everywhere(sites, command, fails=False, hosts=tuple(BY_ROLE)):
    """What a shell command prints on hosts, at once, by host."""
    with ThreadPoolExecutor(4) as pool:
        results = dict(zip(hosts, pool.map(lambda name: sites[name].host.run(command), hosts)))
    for name, result in results.items():
        assert bool(result.rc) is fails, '%s: %s: %s' % (name, command, result.stdout + result.stderr)
    return dict((name, result.stdout + result.stderr) for name, result in results.items())


def privileged(sites, command):
    """Runs a shell command on all hosts as only their own root could: a container's may mount nothing."""
    for name in BY_ROLE:
        subprocess.check_call(['podman', 'exec', '--privileged', name, 'sh', '-c', command])


def agree(sites, vassal, active, enabled):
    """Waits until systemctl tells this on all hosts, and sees that the link tells the same."""
    command = (
        'echo $(systemctl is-active uwsgi@{0}) $(systemctl is-enabled uwsgi@{0} 2> /dev/null) '
        '$(test -e ' + LINK.format(0) % '{0}' + ' && echo linked)'
    ).format(vassal)
    wanted = '%s %s' % (active, 'enabled linked' if enabled else 'disabled')
    end = time.time() + PATIENCE
    while True:
        said = set(answer.strip() for answer in everywhere(sites, command).values())
        if said == set([wanted]):
            return
        assert time.time() < end, '%s instead of %s' % (sorted(said), wanted)
        time.sleep(0.2)


def facts(vassal, hosts=tuple(BY_ROLE)):
    return dict((name, result['vassals'][0]) for name, result in ad_hoc('uwsgi_vassal_info', dict(name=vassal), hosts=hosts).items())


@pytest.fixture
def stone(sites):
    """An application that is enabled and answers, before and after."""

    def answers():
        drive(dict(name='stone', probe=dict(path='/')), hosts=tuple(BY_ROLE))
        agree(sites, 'stone', 'active', True)

    answers()
    yield 'stone'
    answers()


def test_start_and_stop(sites, stone):
    everywhere(sites, 'systemctl stop uwsgi@stone')
    for name, one in facts('stone').items():
        assert (one['enabled'], one['running']) == (False, False), name
    agree(sites, 'stone', 'inactive', False)
    everywhere(sites, 'systemctl start uwsgi@stone')
    # it accepts requests when systemctl returns
    for name in BY_ROLE:
        assert sites[name].get('stone')[0] == 200
    for name, one in facts('stone').items():
        assert (one['enabled'], one['accepting']) == (True, True), name
    agree(sites, 'stone', 'active', True)


def test_restart_and_reload(sites, stone):
    before = facts('stone')
    everywhere(sites, 'systemctl reload uwsgi@stone')
    reloaded = facts('stone')
    everywhere(sites, 'systemctl restart uwsgi@stone')
    restarted = facts('stone')
    for name in BY_ROLE:
        assert reloaded[name]['pid'] == before[name]['pid'], name
        assert restarted[name]['pid'] != before[name]['pid'] and restarted[name]['accepting'], name
    agree(sites, 'stone', 'active', True)
    said = everywhere(sites, 'journalctl -q -o cat -n 30 -u uwsgi@stone')
    for name in BY_ROLE:
        assert 'stone accepts requests, as process %d (reload' % before[name]['pid'] in said[name], said[name]
        assert 'stone restarts, as process %d (restart' % restarted[name]['pid'] in said[name], said[name]
        assert 'stone accepts requests, as process %d (restart' % restarted[name]['pid'] in said[name], said[name]


def test_enable_and_disable(sites, stone):
    everywhere(sites, 'systemctl disable uwsgi@stone')
    agree(sites, 'stone', 'inactive', False)
    everywhere(sites, 'systemctl enable uwsgi@stone')
    agree(sites, 'stone', 'active', True)


def test_the_module_and_links_made_by_hand(sites, stone):
    drive(dict(name='stone', state='disabled'), tuple(BY_ROLE))
    agree(sites, 'stone', 'inactive', False)
    drive(dict(name='stone'), tuple(BY_ROLE))
    agree(sites, 'stone', 'active', True)
    everywhere(sites, 'rm ' + LINK % 'stone')
    agree(sites, 'stone', 'inactive', False)
    everywhere(sites, 'ln -s ../apps-available/stone.ini ' + LINK % 'stone')
    agree(sites, 'stone', 'active', True)


@pytest.mark.parametrize('verb', ['stop', 'restart'])
def test_what_the_module_has_just_enabled_is_stopped_and_restarted(sites, stone, verb):
    for dummy in range(3):
        everywhere(sites, 'systemctl stop uwsgi@stone')
        agree(sites, 'stone', 'inactive', False)
        before = dict((name, result['vassals'][0]['after']['pid']) for name, result in drive(dict(name='stone'), tuple(BY_ROLE)).items())
        everywhere(sites, 'systemctl is-active uwsgi@stone && systemctl %s uwsgi@stone' % verb)
        after = masters(sites, 'stone')
        assert all((pid is None) is (verb == 'stop') and pid != before[name] for name, pid in after.items()), '%s, then %s' % (before, after)


def test_what_the_module_has_just_disabled_is_started(sites, stone):
    for dummy in range(3):
        drive(dict(name='stone', state='disabled'), tuple(BY_ROLE))
        everywhere(sites, 'systemctl start uwsgi@stone')
        assert None not in masters(sites, 'stone').values()
        agree(sites, 'stone', 'active', True)
        # and a stop asks it again
        everywhere(sites, 'systemctl stop uwsgi@stone')
        assert set(masters(sites, 'stone').values()) == set([None])
        everywhere(sites, 'systemctl start uwsgi@stone')


def test_a_crash_loop(sites, stone):
    everywhere(sites, 'echo "chdir = /nowhere" >> ' + FILE % 'stone')
    try:
        agree(sites, 'stone', 'failed', True)
    finally:
        said = everywhere(sites, 'systemctl status uwsgi@stone --no-pager', fails=True)
        everywhere(sites, 'sed -i /nowhere/d ' + FILE % 'stone')
    for name in BY_ROLE:
        assert 'Reason: chdir() to /nowhere: No such file or directory' in said[name], said[name]


def test_a_start_that_fails(sites):
    everywhere(sites, 'printf "[uwsgi]\\nplugin = %s\\nneed-app = true\\nmodule = nowhere\\n" > %s' % (PLUGIN, FILE % 'failing'))
    try:
        everywhere(sites, 'systemctl enable --now uwsgi@failing', fails=True)
        said = everywhere(sites, 'systemctl status uwsgi@failing --no-pager', fails=True)
        for name in BY_ROLE:
            assert re.search("Reason: (ModuleNotFound|Import)Error: No module named '?nowhere", said[name]), said[name]
        agree(sites, 'failing', 'failed', False)
        everywhere(sites, 'systemctl start uwsgi@nobody', fails=True)
        said = everywhere(sites, 'systemctl status uwsgi@nobody --no-pager', fails=True)
        for name in BY_ROLE:
            assert 'nobody: there is no /etc/uwsgi/apps-available/nobody.ini' in said[name], said[name]
    finally:
        everywhere(sites, 'systemctl reset-failed uwsgi@failing uwsgi@nobody; rm ' + FILE % 'failing')


def test_the_emperor_stops_and_dies(sites, stone):
    everywhere(sites, 'systemctl stop uwsgi')
    agree(sites, 'stone', 'inactive', True)
    everywhere(sites, 'systemctl start uwsgi')
    agree(sites, 'stone', 'active', True)
    # with its Emperor down, what is disabled stays so
    everywhere(sites, 'systemctl stop uwsgi; systemctl -q disable uwsgi@stone')
    everywhere(sites, 'systemctl start uwsgi')
    agree(sites, 'stone', 'inactive', False)
    everywhere(sites, 'systemctl start uwsgi@stone')
    agree(sites, 'stone', 'active', True)
    # in a container without cgroup v2, systemd may not see the end of the vassals that it kills then, and waits for it so long
    everywhere(sites, 'mkdir %s; printf "[Service]\\nTimeoutStopSec=3\\n" > %s/soon.conf; systemctl daemon-reload' % (DROP_IN, DROP_IN))
    try:
        everywhere(
            sites,
            'kill -KILL $(systemctl show -p MainPID uwsgi | cut -d = -f 2); '
            'for i in $(seq 200); do systemctl -q is-active uwsgi@stone || exit 0; sleep 0.1; done; exit 1',
        )
        agree(sites, 'stone', 'active', True)
    finally:
        everywhere(sites, 'rm -r %s; systemctl daemon-reload' % DROP_IN)


def test_the_emperor_stops_while_an_application_starts(sites, stone):
    begin = everywhere(sites, 'date +%s')
    everywhere(
        sites,
        'cp /srv/hello/hello.py /srv/slow.py; echo "import time; time.sleep(4)" >> /srv/slow.py; '
        'printf "[uwsgi]\\nplugin = %s\\nwsgi-file = /srv/slow.py\\nworkers = 2\\n" > %s; ln -s ../apps-available/slow.ini %s; '
        'for i in $(seq 100); do pgrep -f "^/usr/bin/uwsgi-core --ini slow.ini" && break; sleep 0.1; done; sleep 0.5' % (PLUGIN, FILE % 'slow', LINK % 'slow'),
    )
    try:
        everywhere(sites, 'systemctl restart uwsgi')
        agree(sites, 'slow', 'active', True)
        for name, since in begin.items():
            said = sites[name].host.check_output('journalctl -q -o cat -u uwsgi --since %s', '@' + since.strip())
            assert 'The Emperor is buried' in said and 'NO MERCY' not in said, '%s: %s' % (name, said)
    finally:
        drive(dict(name='slow', state='absent'), tuple(BY_ROLE))


def test_what_is_stopped_while_its_emperor_restarts_stays_stopped(sites, stone):
    # the two are asked for before the process that has all units stopped can end
    everywhere(
        sites,
        'watcher=$(pgrep -fx ".*/vassal-units watch"); kill -STOP $watcher; systemctl restart --no-block uwsgi; '
        'systemctl stop --no-block uwsgi@stone; kill -CONT $watcher; '
        'for i in $(seq %d); do systemctl list-jobs | grep -q uwsgi || exit 0; sleep 0.1; done; systemctl list-jobs; exit 1' % (10 * PATIENCE),
    )
    agree(sites, 'stone', 'inactive', False)
    assert set(masters(sites, 'stone').values()) == set([None])


def test_one_process_for_all_that_comes_back(sites, stone):
    everywhere(sites, 'pkill -KILL -fx ".*/vassal-units watch"')
    everywhere(sites, 'systemctl stop uwsgi@stone')
    agree(sites, 'stone', 'inactive', False)
    everywhere(sites, 'systemctl start uwsgi@stone')
    agree(sites, 'stone', 'active', True)
    # systemd starts it again after a second, in which the two may have been done
    command = 'for i in $(seq %d); do pgrep -fx ".*/vassal-units watch" && break; sleep 0.1; done' % (10 * PATIENCE)
    for name, said in everywhere(sites, command).items():
        assert len(said.split()) == 1, '%s: %s' % (name, said)


def test_while_that_process_is_restarted_an_application_is_stopped_all_the_same(sites, stone):
    everywhere(sites, 'systemctl restart uwsgi-vassals; systemctl stop uwsgi@stone')
    assert set(masters(sites, 'stone').values()) == set([None])
    agree(sites, 'stone', 'inactive', False)


def test_systemd_takes_the_units_without_a_warning(sites):
    command = 'systemd-analyze verify /etc/systemd/system/uwsgi-vassals.service /etc/systemd/system/uwsgi-vassals.target uwsgi@stone.service 2>&1'
    for name, said in everywhere(sites, command).items():
        assert 'uwsgi' not in said, '%s: %s' % (name, said)


def test_what_debians_own_unit_serves_is_not_started_twice(sites):
    hosts = [name for name in BY_ROLE if sites[name].host.file('/lib/systemd/system/uwsgi-app@.socket').exists]
    if not hosts:
        pytest.skip('Debian 12 is the first with these units')
    everywhere(sites, 'printf "[uwsgi]\\nplugin = python3\\nwsgi-file = /srv/hello/hello.py\\n" > ' + FILE % 'served', hosts=hosts)
    everywhere(sites, 'systemctl start uwsgi-app@served.socket', hosts=hosts)
    try:
        for options in ((), ('--check',)):
            for name, result in ad_hoc('uwsgi_vassal', dict(name='served'), *options, hosts=tuple(hosts)).items():
                assert result['failed'] and 'systemctl disable --now uwsgi-app@served.socket' in result['msg'], '%s: %s' % (name, result)
        everywhere(sites, 'systemctl start uwsgi@served', fails=True, hosts=hosts)
        for name, said in everywhere(sites, 'systemctl status --no-pager uwsgi@served', fails=True, hosts=hosts).items():
            assert 'served: it is served by uwsgi-app@served.socket' in said, '%s: %s' % (name, said)
        playbook(
            'uwsgi.emperor.site',
            dict(emperor_hosts=','.join(hosts), emperor_vassals=dict(served={})),
            fails='systemctl disable --now uwsgi-app@served.socket',
        )
        everywhere(sites, 'test ! -e ' + LINK % 'served', hosts=hosts)
    finally:
        everywhere(sites, 'systemctl stop uwsgi-app@served.socket; systemctl reset-failed uwsgi@served; rm ' + FILE % 'served', hosts=hosts)


def masters(sites, vassal):
    """The PIDs of an application's masters by host: what verbs that fail leave alone, and others replace."""
    return dict((name, one['pid']) for name, one in facts(vassal).items())


def python(sites, vassal, code, *options):
    """Writes an application of Python, and its file, on all hosts; whether it is enabled is left as it is."""
    lines = ['[uwsgi]', 'plugin = ' + PLUGIN, 'wsgi-file = /srv/%s.py' % vassal, 'workers = 2'] + list(options)
    for path, text in ('/srv/%s.py' % vassal, code), (FILE % vassal, '\n'.join(lines) + '\n'):
        for name in BY_ROLE:
            sites[name].host.check_output('printf %%s %s > %s', text, path)


GOOD = 'def application(environ, start_response):\n    start_response("200 OK", [])\n    return [b"good"]\n'
# Takes so long to load that whatever waits for it has to be seen doing so.
SLOW = GOOD + 'import time\ntime.sleep(%d)\n'
RUNS = 'for i in $(seq 200); do pgrep -f "^/usr/bin/uwsgi-core .*slow.ini" && break; sleep 0.1; done'


@pytest.mark.parametrize('obstacle', ['lock', 'plugin', 'link'])
def test_a_verb_that_can_not_do_what_it_is_asked_for_fails_and_the_application_runs_on(sites, stone, obstacle):
    before = masters(sites, 'stone')
    drop_in = '/run/systemd/system/uwsgi@stone.service.d'
    verbs = ['restart', 'reload', 'stop', 'restart']
    if obstacle == 'lock':
        # another run holds it for so long as this application takes to start
        python(sites, 'slow', SLOW % 60)
        everywhere(sites, 'systemctl start --no-block uwsgi@slow; ' + RUNS)
        make = 'mkdir -p {0}; printf "[Service]\\nEnvironment=UWSGI_VASSAL_TIMEOUT=2\\n" > {0}/soon.conf; systemctl daemon-reload'.format(drop_in)
        undo = 'rm -r %s; systemctl daemon-reload' % drop_in
    elif obstacle == 'plugin':
        path = '/usr/lib/uwsgi/plugins/$(sed -n "s/^plugin = //p" %s)_plugin.so' % (FILE % 'stone')
        make, undo = ['path=%s; mv $path%s $path%s' % ((path,) + names) for names in (('', '.kept'), ('.kept', ''))]
        verbs.remove('stop')
    else:
        make = 'mount --bind {0} {0} && mount -o remount,bind,ro {0}'.format('/etc/uwsgi/apps-enabled')
        undo = 'umount --lazy /etc/uwsgi/apps-enabled'
        verbs = ['stop', 'stop']
    act = privileged if obstacle == 'link' else everywhere
    act(sites, make)
    try:
        for verb in verbs:
            everywhere(sites, 'systemctl %s uwsgi@stone' % verb, fails=True)
            agree(sites, 'stone', 'active', True)
            assert masters(sites, 'stone') == before, verb
    finally:
        act(sites, undo)
    if obstacle == 'lock':
        # and the start that held it is cut off
        everywhere(sites, 'timeout 50 systemctl stop uwsgi@slow')
        agree(sites, 'slow', 'inactive', False)
        drive(dict(name='slow', state='absent'), tuple(BY_ROLE))
    everywhere(sites, 'systemctl restart uwsgi@stone')
    assert all(pid not in (None, before[name]) for name, pid in masters(sites, 'stone').items())


@pytest.mark.parametrize('lost', ['rm -f /run/uwsgi-emperor/vassals/*', 'rm -r /run/uwsgi-emperor/vassals'], ids=['files', 'directory'])
def test_whose_mark_is_lost_is_restarted_and_stopped_all_the_same(sites, stone, lost):
    before = masters(sites, 'stone')
    everywhere(sites, lost + '; systemctl restart uwsgi@stone')
    assert all(pid not in (None, before[name]) for name, pid in masters(sites, 'stone').items())
    everywhere(sites, lost + '; systemctl stop uwsgi@stone')
    assert set(masters(sites, 'stone').values()) == set([None])
    agree(sites, 'stone', 'inactive', False)


def test_a_restart_without_its_application_fails_and_one_that_follows_is_done(sites):
    python(sites, 'broken', GOOD)
    try:
        everywhere(sites, 'systemctl start uwsgi@broken && echo "def (" >> /srv/broken.py')
        for verb in 'reload', 'restart', 'reload':
            everywhere(sites, 'systemctl %s uwsgi@broken' % verb, fails=True)
            agree(sites, 'broken', 'active', True)
        # at once, while for systemd the previous is still under way
        everywhere(sites, 'systemctl restart uwsgi@broken; sed -i "$ d" /srv/broken.py; systemctl restart uwsgi@broken')
        assert all(one['accepting'] for one in facts('broken').values())
        everywhere(sites, 'systemctl stop uwsgi@broken; echo "def (" >> /srv/broken.py')
        everywhere(sites, 'systemctl start uwsgi@broken', fails=True)
        # and stays so when the watcher has looked
        for dummy in range(3):
            agree(sites, 'broken', 'failed', False)
            time.sleep(1)
    finally:
        drive(dict(name='broken', state='absent'), tuple(BY_ROLE))
        everywhere(sites, 'systemctl reset-failed uwsgi@broken; true')


@pytest.mark.parametrize('options', [[], ['lazy-apps = true']], ids=['', 'lazy'])
def test_what_is_just_starting_is_stopped_restarted_and_removed_soon(sites, options):
    python(sites, 'slow', SLOW % 4, *options)
    try:
        for pause in '0', '0.1', '1':
            everywhere(sites, 'systemctl start --no-block uwsgi@slow; sleep %s; timeout 50 systemctl stop uwsgi@slow' % pause)
            agree(sites, 'slow', 'inactive', False)
            assert set(masters(sites, 'slow').values()) == set([None])
        everywhere(sites, 'systemctl start --no-block uwsgi@slow; ' + RUNS)
        before = masters(sites, 'slow')
        everywhere(sites, 'timeout 50 systemctl restart uwsgi@slow')
        after = masters(sites, 'slow')
        assert all(pid not in (None, before[name]) for name, pid in after.items()), '%s, then %s' % (before, after)
        agree(sites, 'slow', 'active', True)
        everywhere(sites, 'systemctl stop uwsgi@slow')
        # started by nobody who holds the lock
        for state in 'restarted', 'disabled', 'absent':
            python(sites, 'slow', SLOW % 30, *options)
            everywhere(sites, 'ln -sf ../apps-available/slow.ini %s; ' % (LINK % 'slow') + RUNS)
            if state == 'restarted':
                python(sites, 'slow', GOOD)
            for name, result in drive(dict(name='slow', state=state, timeout=60), tuple(BY_ROLE)).items():
                assert result['vassals'][0]['elapsed'] < 20, '%s: %s' % (name, result)
            if state == 'restarted':
                agree(sites, 'slow', 'active', True)
                everywhere(sites, 'systemctl stop uwsgi@slow')
            agree(sites, 'slow', 'inactive', False)
    finally:
        drive(dict(name='slow', state='absent'), tuple(BY_ROLE))


def test_a_restart_while_another_waits_for_its_application_is_one_of_its_own(sites):
    """What has changed since that one has begun to load it is to be loaded, too."""
    python(sites, 'slow', 'open("/tmp/slow.loads", "w").close()\n' + SLOW % 4)
    loads = 'until test -e /tmp/slow.loads && systemctl show -p ActiveState uwsgi@slow | grep -q =activating; do sleep 0.05; done; '
    try:
        for first in 'start', 'restart':
            said = everywhere(
                sites, 'systemctl %s --no-block uwsgi@slow; ' % first + loads + 'cat /run/uwsgi/slow.pid; timeout 50 systemctl restart uwsgi@slow'
            )
            after = masters(sites, 'slow')
            for name, before in said.items():
                assert after[name] not in (None, int(before)), '%s: %s, then %s' % (name, before, after[name])
            agree(sites, 'slow', 'active', True)
            everywhere(sites, 'rm -f /tmp/slow.loads')
    finally:
        drive(dict(name='slow', state='absent'), tuple(BY_ROLE))


@pytest.mark.parametrize('verb', ['restart', 'stop'])
def test_a_verb_whose_program_is_killed_is_done_or_fails(sites, stone, verb):
    program = '^[^ ]*python.* /usr/local/lib/uwsgi-emperor/vassal-units stop stone'
    before = masters(sites, 'stone')
    said = everywhere(
        sites,
        'systemctl {0} uwsgi@stone & until pkill -KILL -f "{1}"; do kill -0 $! || exit; done; wait $!; echo $?'.format(verb, program),
    )
    after = masters(sites, 'stone')
    for name in before:
        done = after[name] is None if verb == 'stop' else after[name] not in (None, before[name])
        assert done or said[name].split()[-1] != '0', '%s: %s, then %s: %s' % (name, before[name], after[name], said[name])
    everywhere(sites, 'systemctl reset-failed uwsgi@stone; systemctl start uwsgi@stone')


@pytest.fixture
def leisurely(sites):
    """Has what systemd runs for the verbs exit long after it has done its work, as on a busy host; waits until it has."""
    lines = ['[Service]', 'ExecStart=', 'ExecReload=']
    for directive, word in ('ExecStart', 'start'), ('ExecReload', 'reload'):
        lines += ['%s=/bin/sh -c "/usr/local/lib/uwsgi-emperor/vassal-units %s stone && touch /run/did && exec sleep 5"' % (directive, word)]
    lines += ['ExecReload=/bin/rm -f /run/uwsgi-emperor/vassals/%n.begun']
    drop_in = '/run/systemd/system/uwsgi@stone.service.d'
    everywhere(sites, "mkdir {0}; printf '%s\\n' '{1}' > {0}/leisurely.conf; systemctl daemon-reload".format(drop_in, "' '".join(lines)))
    yield 'until rm /run/did 2> /dev/null; do sleep 0.05; done'
    everywhere(sites, 'rm -r %s; systemctl daemon-reload; systemctl start uwsgi@stone' % drop_in)


@pytest.mark.parametrize('verb', ['restart', 'stop'])
@pytest.mark.parametrize('first', ['start', 'reload'])
def test_what_comes_when_the_verb_before_is_about_to_exit_is_done(sites, stone, leisurely, first, verb):
    if first == 'start':
        everywhere(sites, 'systemctl stop uwsgi@stone')
    said = everywhere(
        sites, 'systemctl %s --no-block uwsgi@stone; %s; cat /run/uwsgi/stone.pid; timeout 50 systemctl %s uwsgi@stone' % (first, leisurely, verb)
    )
    after = masters(sites, 'stone')
    for name, before in said.items():
        assert after[name] is None if verb == 'stop' else after[name] not in (None, int(before)), '%s: %s, then %s' % (name, before, after[name])
    agree(sites, 'stone', 'inactive' if verb == 'stop' else 'active', verb == 'restart')


def test_a_unit_that_has_failed_is_no_failure_once_its_application_is_disabled(sites, stone):
    for disable in 'systemctl disable uwsgi@stone', 'rm ' + LINK % 'stone':
        everywhere(sites, 'echo "chdir = /nowhere" >> ' + FILE % 'stone')
        try:
            agree(sites, 'stone', 'failed', True)
            everywhere(sites, disable)
            agree(sites, 'stone', 'inactive', False)
        finally:
            everywhere(sites, 'sed -i /nowhere/d ' + FILE % 'stone')
        drive(dict(name='stone'), tuple(BY_ROLE))
        agree(sites, 'stone', 'active', True)


def test_an_application_without_its_socket_is_not_active_and_a_restart_brings_it_back(sites, stone):
    everywhere(sites, 'rm /run/uwsgi/stone.socket')
    agree(sites, 'stone', 'failed', True)
    for name, said in everywhere(sites, 'systemctl status uwsgi@stone --no-pager', fails=True).items():
        assert '/run/uwsgi/stone.socket' in said, said
    everywhere(sites, 'systemctl restart uwsgi@stone')
    assert all(sites[name].get('stone')[0] == 200 for name in BY_ROLE)
    agree(sites, 'stone', 'active', True)


def test_an_application_with_another_socket_is_active(sites):
    python(sites, 'elsewhere', GOOD, 'socket = 127.0.0.1:4031')
    try:
        everywhere(sites, 'systemctl start uwsgi@elsewhere')
        everywhere(sites, 'for i in $(seq 50); do systemctl -q is-active uwsgi@elsewhere || exit 1; sleep 0.1; done; test ! -e /run/uwsgi/elsewhere.socket')
    finally:
        drive(dict(name='elsewhere', state='absent'), tuple(BY_ROLE))


@pytest.mark.parametrize('slow', [False, True], ids=['', 'nobody looks before it is linked again'])
def test_a_masked_unit_is_told_once_and_its_application_left_alone(sites, stone, slow):
    begin = everywhere(sites, 'date +%s')
    everywhere(sites, 'pkill -%s -fx ".*/vassal-units watch"; ' % ('STOP' if slow else 'CONT') + 'systemctl stop uwsgi@stone; systemctl mask uwsgi@stone')
    try:
        drive(dict(name='stone'), tuple(BY_ROLE))
        everywhere(sites, 'pkill -CONT -fx ".*/vassal-units watch"')
        time.sleep(5)
        for name, since in begin.items():
            said = sites[name].host.check_output('journalctl -q -o cat -u uwsgi-vassals --since %s', '@' + since.strip())
            assert said.count('masked') == 1, '%s: %s' % (name, said)
            assert sites[name].get('stone')[0] == 200
    finally:
        everywhere(sites, 'pkill -CONT -fx ".*/vassal-units watch"; systemctl unmask uwsgi@stone')
    # what is not masked any more is what its link says
    agree(sites, 'stone', 'active', True)
    time.sleep(3)
    agree(sites, 'stone', 'active', True)
