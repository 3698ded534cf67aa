# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module makes of a host on which things are not as they should be, by accident or by a user of /run/uwsgi.

On the newest of the role's hosts and on the one that was set up by hand.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
from concurrent.futures import ThreadPoolExecutor

import conftest
import pytest

HOSTS = tuple(conftest.BY_ROLE[-1:] + conftest.BY_HAND)
LINK = '/etc/uwsgi/apps-enabled/hello.ini'
# Listens in the place of the application, as its user, and takes what comes.
IMPOSTOR = (
    'import os, socket, time; s = socket.socket(socket.AF_UNIX); os.path.exists("{0}") and os.unlink("{0}"); '
    's.bind("{0}"); s.listen(128); time.sleep(600)'
).format('/run/uwsgi/hello.socket')


def ad_hoc(module, arguments, *options, times=1):
    return conftest.ad_hoc(module, arguments, *options, hosts=HOSTS, times=times)


def drive(arguments):
    return conftest.drive(arguments, HOSTS)


@pytest.fixture(scope='module')
def sites(sites):
    return dict((name, sites[name]) for name in HOSTS)


@pytest.fixture(autouse=True)
def restored(sites):
    """Whatever a test did, the next one finds the application enabled and answering."""
    yield
    everywhere(sites, 'systemctl start uwsgi.service; ln -sfn ../apps-available/hello.ini %s', LINK)
    drive(dict(name='hello'))


def everywhere(sites, command, *args):
    with ThreadPoolExecutor(len(sites)) as pool:
        return dict(zip(sites, pool.map(lambda site: site.host.check_output(command, *args), sites.values())))


def refused(sites, arguments, *words):
    """The call fails on all hosts and says the words; the application's master is left alone."""
    for key, result in ad_hoc('uwsgi_vassal', arguments).items():
        assert result['failed'], '%s: %s' % (key, result)
        for word in words:
            assert word in result['msg'], '%s: %s' % (key, result)


@pytest.mark.parametrize(
    'forged, state',
    [('$!', 'restarted'), ('', 'reloaded'), ('nonsense', 'disabled'), ('-1', 'restarted')],
    ids=['another', 'empty', 'nonsense', 'all'],
)
def test_a_forged_pidfile_is_not_believed(sites, forged, state):
    bystander = 'sleep 300 > /dev/null 2>&1 & echo %s > /run/uwsgi/hello.new; mv /run/uwsgi/hello.new /run/uwsgi/hello.pid; echo $!' % forged
    bystanders = everywhere(sites, 'su -s /bin/sh -c %s www-data', bystander)
    drive(dict(name='hello', state=state))
    for key, site in sites.items():
        site.host.check_output('kill %s', bystanders[key].split()[-1])  # fails if it does not live


def test_an_impostors_socket_is_told_and_a_restart_takes_it_back(sites):
    everywhere(sites, 'su -s /bin/sh -c %s www-data', "nohup %s -c '%s' > /dev/null 2>&1 < /dev/null &" % (conftest.INTERPRETER, IMPOSTOR))
    everywhere(sites, 'for i in $(seq 100); do ss -xlp | grep -q "hello.socket .*python" && break; sleep 0.1; done')
    try:
        refused(sites, dict(name='hello', timeout=30), 'listens on /run/uwsgi/hello.socket', 'restart it')
        for key, result in drive(dict(name='hello', state='restarted')).items():
            assert sites[key].facts('hello')['master'] == result['vassals'][0]['after']['pid']
    finally:
        everywhere(sites, 'pkill -f "s.[b]ind"')


def test_a_socket_that_was_removed_is_told_and_a_restart_brings_it_back(sites):
    everywhere(sites, 'rm /run/uwsgi/hello.socket')
    refused(sites, dict(name='hello', timeout=30), '/run/uwsgi/hello.socket', 'restart it')
    drive(dict(name='hello', state='restarted'))
    assert all(site.get('hello')[0] == 200 for site in sites.values())


@pytest.mark.parametrize('forge', ['ln -s /etc/motd', 'mkfifo', 'touch'])
def test_a_forged_fifo_is_not_written(sites, forge):
    config = {'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/hello.py', 'lazy-apps': True, 'master-fifo': '/run/uwsgi/%N.fifo'}
    drive(dict(name='guest', config=config))
    everywhere(sites, 'rm /run/uwsgi/guest.fifo; %s /run/uwsgi/guest.fifo' % forge)
    refused(sites, dict(name='guest', state='reloaded', method='chain'), '/run/uwsgi/guest.fifo', 'restart it')
    drive(dict(name='guest', state='absent'))


def test_a_log_that_leads_elsewhere_is_not_shown(sites):
    config = {'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/nowhere.py', 'need-app': True}
    everywhere(sites, 'ln -sf /etc/shadow /var/log/uwsgi/guest.log')
    for key, result in ad_hoc('uwsgi_vassal', dict(name='guest', config=config, timeout=20)).items():
        assert result['failed'] and 'root:' not in result['msg'], '%s: %s' % (key, result)
    everywhere(sites, 'rm /var/log/uwsgi/guest.log')


@pytest.mark.parametrize('state', ['enabled', 'restarted'])
def test_a_link_to_another_file_is_told(sites, state):
    everywhere(sites, 'cp /etc/uwsgi/apps-available/hello.ini /srv/elsewhere.ini; ln -sfn /srv/elsewhere.ini %s', LINK)
    refused(sites, dict(name='hello', state=state), '/srv/elsewhere.ini', 'Remove that link')


def test_an_application_that_is_linked_from_elsewhere_is_driven_as_any(sites):
    everywhere(sites, 'mv /etc/uwsgi/apps-available/hello.ini /srv/hello.ini; ln -sfn /srv/hello.ini %s', LINK)
    try:
        for state, changed in ('enabled', False), ('restarted', True), ('reloaded', True), ('enabled', False):
            for key, result in ad_hoc('uwsgi_vassal', dict(name='h*', state=state)).items():
                assert not result['failed'] and result['changed'] is changed, '%s: %s' % (key, result)
        refused(sites, dict(name='hello', content='[uwsgi]'), '/srv/hello.ini', 'move it')
    finally:
        everywhere(sites, 'mv /srv/hello.ini /etc/uwsgi/apps-available/hello.ini')


def test_a_pattern_restarts_what_is_enabled_and_nothing_else(sites):
    everywhere(sites, 'cp /etc/uwsgi/apps-available/hello.ini /etc/uwsgi/apps-available/hello2.ini')
    for key, result in ad_hoc('uwsgi_vassal', dict(name='hello*', state='restarted')).items():
        assert [vassal['name'] for vassal in result['vassals']] == ['hello'], '%s: %s' % (key, result)
    drive(dict(name='hello2', state='absent'))


@pytest.mark.parametrize('state', ['enabled', 'restarted'])
def test_a_dangling_link_is_told(sites, state):
    everywhere(sites, 'ln -sfn ../apps-available/gone.ini /etc/uwsgi/apps-enabled/gone.ini')
    refused(sites, dict(name='gone', state=state), 'there is no /etc/uwsgi/apps-available/gone.ini', 'config or content')
    for result in ad_hoc('uwsgi_vassal', dict(name='gone', state='absent')).values():
        assert result['vassals'][0]['actions'] == ['unlink'], result


def test_a_file_in_the_place_of_the_link_is_not_lost(sites):
    everywhere(sites, 'rm %s; cp /etc/uwsgi/apps-available/hello.ini %s' % (LINK, LINK))
    refused(sites, dict(name='hello', state='disabled'), 'would be lost')


@pytest.mark.skipif(conftest.BY_SYSTEMD, reason='there is none')
@pytest.mark.parametrize('state', ['enabled', 'restarted'])
def test_an_emperor_that_does_not_run_is_told(sites, state):
    everywhere(sites, 'systemctl stop uwsgi.service')
    refused(sites, dict(name='hello', state=state), 'the Emperor does not run', 'systemctl start uwsgi.service')


@pytest.mark.skipif(conftest.BY_SYSTEMD, reason='there is none')
def test_a_vassal_that_its_emperor_starts_on_demand_is_asked_for(sites):
    name = HOSTS[0]
    ini = '/etc/uwsgi/emperor.ini'

    def act(state, *options):
        return conftest.ad_hoc('uwsgi_vassal', dict(name='hello', state=state), *options, hosts=(name,))[name]['vassals'][0]

    sites[name].host.check_output(
        'cp -p %s %s.kept && printf "emperor-on-demand-directory = /run/uwsgi\\n" >> %s && systemctl restart uwsgi.service', ini, ini, ini
    )
    try:
        for state, actions in (
            ('enabled', ['start']),
            ('enabled', []),
            ('restarted', ['restart']),
            ('disabled', ['unlink', 'stop']),
            ('enabled', ['link', 'start']),
        ):
            predicted, done = act(state, '--check'), act(state)
            assert predicted['actions'] == done['actions'] == actions, '%s: %s, then %s' % (state, predicted, done)
            assert done['after']['accepting'] is (state != 'disabled'), done
        assert sites[name].facts('hello')['master'] == done['after']['pid']
    finally:
        sites[name].host.check_output('mv %s.kept %s && systemctl restart uwsgi.service', ini, ini)


@pytest.mark.parametrize('name', ['../apps-available/hello', 'a:b', ''])
def test_a_name_that_is_no_name_is_refused(sites, name):
    before = everywhere(sites, 'ls -lR /etc/uwsgi /run/uwsgi')
    refused(sites, dict(name=[name], state='absent'))
    assert everywhere(sites, 'ls -lR /etc/uwsgi /run/uwsgi') == before


def test_of_two_runs_at_once_the_later_finds_what_the_earlier_left(sites):
    calls = ad_hoc('uwsgi_vassal', dict(name='hello', state='restarted'), times=2)
    for key, site in sites.items():
        runs = [call[key]['vassals'][0] for call in calls]
        assert sorted(run['before']['pid'] == other['after']['pid'] for run, other in (runs, runs[::-1])) == [False, True], '%s: %s' % (key, runs)
        assert site.facts('hello')['master'] in [run['after']['pid'] for run in runs]


@pytest.mark.parametrize('module', ['uwsgi_vassal', 'uwsgi_vassal_info'])
def test_without_root_nothing_is_claimed(module):
    for key, result in ad_hoc(module, dict(name='hello'), '-e', 'ansible_become=false').items():
        assert result['failed'] and 'become: true' in result['msg'], '%s: %s' % (key, result)


# One of each kind of what uWSGI does while it is asked what a configuration says; each would leave a file of its name in /srv/traces.
TRACES = """[uwsgi]
plugin = %s
wsgi-file = /srv/hello/hello.py
exec-asap = touch /srv/traces/exec
hook-asap = exec:touch /srv/traces/hook
exec-as-user-atexit = touch /srv/traces/atexit
foo = @(exec://touch /srv/traces/at)
%%x = touch /srv/traces/no-option
set = exec-asap=touch /srv/traces/set
declare-option = bar=exec-asap=touch $1
bar = /srv/traces/declared
if-exists = /srv
ini = exec://touch /srv/traces/ini
endif =
inherit = /srv/traces.ini
spooler = /srv/traces/spooler
""" % conftest.PLUGIN
OTHER_TRACES = {
    'yml': 'uwsgi:\n  plugin: %s\n  exec-asap: touch /srv/traces/yaml\n' % conftest.PLUGIN,
    'json': '{"uwsgi": {"plugin": "%s", "exec-asap": "touch /srv/traces/json"}}' % conftest.PLUGIN,
    'xml': '<uwsgi><plugin>%s</plugin><exec-asap>touch /srv/traces/xml</exec-asap></uwsgi>' % conftest.PLUGIN,
}


def called(module, arguments, *options):
    """The output of a call, with its warnings."""
    return conftest.call(['ansible', ','.join(HOSTS), '-b', '-m', module, '-a', json.dumps(arguments)] + list(options))[1]


def test_what_is_only_looked_at_executes_nothing(sites):
    everywhere(sites, 'mkdir /srv/traces; printf "[uwsgi]\nhook-asap = exec:touch /srv/traces/inherited\n" > /srv/traces.ini')
    for ending, text in OTHER_TRACES.items():
        everywhere(sites, 'printf %%s %s > /etc/uwsgi/apps-available/trace-%s.%s', text, ending, ending)
    try:
        said = called('uwsgi_vassal', dict(name='guest', content=TRACES), '--check')
        for line in 'line 4, exec-asap', 'line 7, foo', '/srv/traces.ini: line 2, hook-asap':
            assert all(word in said for word in line.split()) and 'CHANGED' in said, said
        # what else is wrong is told all the same
        refused(sites, dict(name='guest', content='[uwsgi]\nexec-asap = touch /srv/traces/wrong\nno-such-option = 1\n'), 'no-such-option')
        everywhere(sites, 'printf %%s %s > /etc/uwsgi/apps-available/guest.ini', TRACES)
        for dummy in range(2):
            assert 'exec-asap' in called('uwsgi_vassal_info', dict(name='*'))
        for result in ad_hoc('uwsgi_vassal_info', dict(name=['guest', 'trace-*'])).values():
            assert [one['socket'] for one in result['vassals']] == ['/run/uwsgi/guest.socket'] + [None] * len(OTHER_TRACES), result
        ad_hoc('uwsgi_vassal', dict(name=['guest', 'trace-*']), '--check')
        assert set(everywhere(sites, 'ls -A /srv/traces').values()) == {''}
    finally:
        everywhere(sites, 'rm -rf /etc/uwsgi/apps-available/guest.ini /etc/uwsgi/apps-available/trace-* /srv/traces /srv/traces.ini')


def test_a_start_executes_what_its_configuration_says_once(sites):
    config = {'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/hello.py', 'exec-asap': 'echo started >> /srv/started'}
    try:
        drive(dict(name='guest', config=config))
        ad_hoc('uwsgi_vassal_info', dict(name='guest'))
        ad_hoc('uwsgi_vassal', dict(name='guest', state='restarted'), '--check')
        assert set(everywhere(sites, 'cat /srv/started').values()) == {'started'}
        drive(dict(name='guest', state='restarted'))
        assert set(everywhere(sites, 'cat /srv/started').values()) == {'started\nstarted'}
    finally:
        drive(dict(name='guest', state='absent'))
        everywhere(sites, 'rm -f /srv/started')


def test_a_look_removes_nothing_of_what_runs(sites):
    config = {'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/hello.py', 'vacuum': True, 'stats': '/run/uwsgi/guest.stats'}
    drive(dict(name='guest', config=config))
    try:
        there = everywhere(sites, 'ls /run/uwsgi')
        for dummy in range(2):
            for result in ad_hoc('uwsgi_vassal_info', dict(name='guest')).values():
                assert result['vassals'][0]['requests'] == 0, result
        assert everywhere(sites, 'ls /run/uwsgi') == there
    finally:
        drive(dict(name='guest', state='absent'))
