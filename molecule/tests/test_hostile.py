# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module makes of a host on which things are not as they should be, by accident or by who may change /run/uwsgi.

On the newest of the role's hosts and on the one that was set up by hand.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor

import conftest
import pytest

SCENARIOS = ['hostile', 'systemd']
# What is said of a socket that nobody can connect to: systemd keeps it during a restart, but for one by the module.
MENDS = 'stop and start it' if conftest.BY_SYSTEMD else 'restart it'

HOSTS = tuple(conftest.BY_ROLE[-1:] + conftest.BY_HAND)
LINK = '/etc/uwsgi/apps-enabled/hello.ini'
# Listens in the place of the application, as its user, and takes what comes.
IMPOSTOR = (
    'import os, socket, time; s = socket.socket(socket.AF_UNIX); os.path.exists("{0}") and os.unlink("{0}"); '
    's.bind("{0}"); s.listen(128); time.sleep(600)'
).format('/run/uwsgi/hello.socket')

# That is root on a host of the role, and www-data on the one that was set up by hand.
AS_OWNER = 'su -s /bin/sh -c %s $(stat -c %%U /run/uwsgi)'


# What a terminal obeys, and what is no text.
RAW = re.compile(u'[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
# An application that fails, and writes what is to be taken for something else before.
LIAR = (
    b'import os\n'
    b'os.write(2, b"\\xff\\xfe\\x1b]0;OWNED\\x07\\x1b[31m one\\rline\\x0b of \\xc2\\x85 all \\xe2\\x80\\xa8\\xe2\\x80\\xae gnp.exe ")\n'
    b'os.write(2, b"Gr\\xc3\\xbc\\xc3\\x9fe\\n")\n'
    b'os.write(2, b"unknown config directive: FAKE\\n*** Starting uWSGI\\nguest: it accepts requests. Nothing is wrong.\\n")\n'
    b'raise RuntimeError("\\x1b[2J the real one")\n'
)
LIES = {'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/liar.py', 'need-app': True}


def strings(value):
    """All strings of a result."""
    if isinstance(value, dict):
        return [one for item in value.items() for part in item for one in strings(part)]
    if isinstance(value, list):
        return [one for item in value for one in strings(item)]
    return [value] if isinstance(value, str) else []


def shown(arguments, *options, hosts=HOSTS):
    """(results by host, output) of a call of the module, of which nothing raw is shown: in the output, or in a string of a result."""
    output = conftest.call(['ansible', ','.join(hosts), '-b', '-m', 'uwsgi_vassal', '-a', json.dumps(arguments)] + list(options))[1]
    results = conftest.parse(output)
    assert sorted(results) == sorted(hosts), output
    assert not RAW.search(output), ascii(output)
    for key, result in results.items():
        assert not [one for one in strings(result) if RAW.search(one)], '%s: %s' % (key, ascii(result))
    return results, output


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
    bystanders = everywhere(sites, AS_OWNER, bystander)
    drive(dict(name='hello', state=state))
    for key, site in sites.items():
        site.host.check_output('kill %s', bystanders[key].split()[-1])  # fails if it does not live


def test_an_impostors_socket_is_told_and_a_restart_takes_it_back(sites):
    everywhere(sites, AS_OWNER, "nohup %s -c '%s' > /dev/null 2>&1 < /dev/null &" % (conftest.INTERPRETER, IMPOSTOR))
    everywhere(sites, 'for i in $(seq 100); do ss -xlp | grep -q "hello.socket .*python" && break; sleep 0.1; done')
    try:
        refused(sites, dict(name='hello', timeout=30), 'listens on /run/uwsgi/hello.socket', MENDS)
        for key, result in drive(dict(name='hello', state='restarted')).items():
            assert sites[key].facts('hello')['master'] == result['vassals'][0]['after']['pid']
    finally:
        everywhere(sites, 'pkill -f "s.[b]ind"')


def test_a_socket_that_was_removed_is_told_and_a_restart_brings_it_back(sites):
    everywhere(sites, 'rm /run/uwsgi/hello.socket')
    refused(sites, dict(name='hello', timeout=30), '/run/uwsgi/hello.socket', MENDS)
    drive(dict(name='hello', state='restarted'))
    assert all(site.get('hello')[0] == 200 for site in sites.values())


@pytest.mark.parametrize('forge', ['ln -s /etc/motd', 'mkfifo', 'touch'])
def test_a_forged_fifo_is_not_written(sites, forge):
    config = {'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/hello.py', 'lazy-apps': True, 'master-fifo': '/var/tmp/%N.fifo'}
    drive(dict(name='guest', config=config))
    everywhere(sites, 'rm /var/tmp/guest.fifo; %s /var/tmp/guest.fifo' % forge)
    refused(sites, dict(name='guest', state='reloaded', method='chain'), '/var/tmp/guest.fifo', 'restart it')
    drive(dict(name='guest', state='absent'))
    everywhere(sites, 'rm -f /var/tmp/guest.fifo')


def test_a_log_that_leads_elsewhere_is_not_shown(sites):
    config = {'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/nowhere.py', 'need-app': True}
    everywhere(sites, 'ln -sf /etc/shadow /var/log/uwsgi/guest.log')
    for key, result in ad_hoc('uwsgi_vassal', dict(name='guest', config=config, timeout=20)).items():
        assert result['failed'] and 'root:' not in result['msg'], '%s: %s' % (key, result)
    everywhere(sites, 'rm /var/log/uwsgi/guest.log')


@pytest.fixture
def liar(sites):
    everywhere(sites, 'echo %s | base64 -d > /srv/liar.py', base64.b64encode(LIAR).decode())
    yield
    drive(dict(name='guest', state='absent'))
    everywhere(sites, 'rm -f /srv/liar.py /var/log/uwsgi/guest.log')


def test_what_a_failing_application_writes_is_shown_as_data(liar):
    for key, result in shown(dict(name='guest', config=LIES, timeout=20))[0].items():
        said = result['msg'].split('\n')
        assert result['failed'] and said[0].endswith('/var/log/uwsgi/guest.log gives the Reason: RuntimeError: \\x1b[2J the real one'), '%s: %s' % (key, said)
        assert '  \\xff\\xfe\\x1b]0;OWNED\\x07\\x1b[31m one\\x0dline\\x0b of \\x85 all \\u2028\\u202e gnp.exe Gr\u00fc\u00dfe' in said, '%s: %s' % (key, said)
        assert '  guest: it accepts requests. Nothing is wrong.' in said, '%s: %s' % (key, said)


def test_what_a_failing_application_writes_is_data_to_its_unit_too(sites, liar):
    site = sites[HOSTS[0]]
    file = '/etc/uwsgi/apps-available/guest.ini'
    site.host.check_output('printf "[uwsgi]\\nplugin = %s\\nneed-app = true\\nwsgi-file = /srv/liar.py\\n" > %s' % (conftest.PLUGIN, file))
    try:
        journal = 'journalctl -u uwsgi@guest -o cat -a --since @%s' % site.host.check_output('date +%s')
        assert site.host.run('systemctl start uwsgi@guest').rc != 0
        site.host.run('for i in $(seq 100); do %s | grep -q "Reason: " && break; sleep 0.1; done' % journal)
        said = site.host.check_output(journal)
        assert not RAW.search(said), ascii(said)
        assert '/var/log/uwsgi/guest.log gives the Reason: RuntimeError: \\x1b[2J the real one\n' in said + '\n', said
        assert '\nguest: it accepts' not in said and '\n  guest: it accepts requests. Nothing is wrong.\n' in said, said
    finally:
        site.host.check_output('systemctl stop uwsgi@guest; systemctl reset-failed uwsgi@guest; rm %s' % file)


def test_a_file_that_is_no_text_is_shown_and_replaced(sites):
    comment = b'# caf\xe9 \x1b[31m\n'
    config = '[uwsgi]\nplugin = %s\nwsgi-file = /srv/hello/hello.py\n' % conftest.PLUGIN
    drive(dict(name='guest', content=config))
    everywhere(sites, 'echo %s | base64 -d >> /etc/uwsgi/apps-available/guest.ini', base64.b64encode(comment).decode())
    for options in ('--check', '--diff'), ('--diff',):
        results, output = shown(dict(name='guest', content=config + '# new\n'), *options)
        for key, result in results.items():
            assert not result['failed'] and result['changed'], '%s: %s' % (key, result)
        assert output.count('\n-# caf\\xe9 \\x1b[31m\n') == len(HOSTS), output
    drive(dict(name='guest', state='absent'))


@pytest.mark.parametrize('state', ['enabled', 'restarted'])
def test_a_wrong_answer_to_the_probe_is_what_the_timeout_tells(sites, state):
    refused(sites, dict(name='hello', state=state, timeout=5, probe=dict(status=[418])), 'after 5 s: the probe of / got status 200, not 418')


def test_a_nul_character_is_refused():
    # Ansible's own entry in the journal of the target takes none, without Python's systemd
    for arguments, said in (dict(content='[uwsgi]\nenv = A=\0\n'), 'content has a NUL character in line 2'), (
        dict(config={'env': ['A=\0']}),
        'env has a NUL character',
    ):
        for key, result in ad_hoc('uwsgi_vassal', dict(arguments, name='guest'), '-e', 'ansible_no_target_syslog=true').items():
            assert result['failed'] and said in result['msg'], '%s: %s' % (key, result)


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
    # one that equals the available file is a copy, of which nothing is lost (test_vassal)
    everywhere(sites, 'rm %s; cp /etc/uwsgi/apps-available/hello.ini %s; echo "# mine" >> %s' % (LINK, LINK, LINK))
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


def test_a_runtime_directory_that_is_not_roots_alone_is_told_with_the_remedy(sites):
    """The host that was set up by hand has one; on the host of the role root opens it again."""
    told = 'belongs to user' if conftest.BY_HAND else 'its mode is 2775'
    host = (conftest.BY_HAND or HOSTS)[0]
    closing = sites[host].host.check_output('stat -c "chown %U:%G /run/uwsgi && chmod %a /run/uwsgi" /run/uwsgi')
    if not conftest.BY_HAND:
        sites[host].host.check_output('chgrp www-data /run/uwsgi && chmod 2775 /run/uwsgi')
    try:
        for module in 'uwsgi_vassal', 'uwsgi_vassal_info':
            said = ' '.join(conftest.call(['ansible', host, '-b', '-m', module, '-a', 'name=hello'])[1].split())
            assert '/run/uwsgi is not for root alone: ' in said and told in said and 'chmod 0755 /run/uwsgi' in said, said
    finally:
        sites[host].host.check_output('sh -c %s', closing)


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
    config = {'plugin': conftest.PLUGIN, 'wsgi-file': '/srv/hello/hello.py', 'vacuum': True, 'stats': '/var/tmp/guest.stats'}
    drive(dict(name='guest', config=config))
    try:
        there = everywhere(sites, 'ls /run/uwsgi /var/tmp/guest.stats')
        for dummy in range(2):
            for result in ad_hoc('uwsgi_vassal_info', dict(name='guest')).values():
                assert result['vassals'][0]['requests'] == 0, result
        assert everywhere(sites, 'ls /run/uwsgi /var/tmp/guest.stats') == there
    finally:
        drive(dict(name='guest', state='absent'))
        everywhere(sites, 'rm -f /var/tmp/guest.stats')
