# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook migrate on hosts of the init script and of uwsgi-emperor; each test goes on from where the previous left the hosts."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os

import pytest
import testinfra
from conftest import INTERPRETER, SCENARIO, VARIABLES, Site, playbook

SCENARIOS = ['jessie', 'migrate']

LEGACY = VARIABLES.get('legacy')
if LEGACY is None:
    pytest.skip('the scenario has no hosts to migrate', allow_module_level=True)
GROUPS = dict((platform['name'], platform.get('groups', [])) for platform in SCENARIO['platforms'])
SCRIPTS = [name for name, groups in GROUPS.items() if 'init_script' in groups]
RIVALS = [name for name, groups in GROUPS.items() if 'uwsgi_emperor' in groups]
# Python's plugin as their files have it, and as the Emperor loads it
WRITTEN = LEGACY['python']
PLUGIN = WRITTEN.replace('uwsgi_', '')
# All that the migration may write.
FILES = (
    'cd /etc && find uwsgi* default nginx systemd/system tmpfiles.d logrotate.d -type f -exec md5sum {} + | sort -k 2; '
    'find uwsgi* nginx systemd/system -type l -printf "%p %l\\n" | sort; systemctl is-enabled uwsgi uwsgi-emperor 2> /dev/null; true'
)


ANSWERS = 'curl --silent --output /dev/null --retry 20 --retry-delay 1 --retry-connrefused --fail --header "Host: legacy.localhost" http://127.0.0.1/'


@pytest.fixture(scope='module')
def sites():
    return dict((name, Site(testinfra.get_host('podman://' + name))) for name in SCRIPTS + RIVALS)


def state(sites):
    return dict((name, site.host.check_output(FILES)) for name, site in sites.items())


def put(site, name, text):
    """Gives a host another application, of the service that it has, and its content."""
    directory = '/etc/uwsgi-emperor/vassals' if site.host.backend.name in RIVALS else '/etc/uwsgi/apps-enabled'
    path = '%s/%s.ini' % (directory, name)
    site.host.check_output('printf %s > %s', text.replace('PYTHON', PLUGIN), path)
    return path


@pytest.fixture
def guests(sites, request):
    """Another application on each host (uwsgi-emperor would start one that is to stand still), for one test."""
    name, text, runs = request.param
    paths = dict((key, put(site, name, text)) for key, site in sites.items() if name != 'halt' or key in SCRIPTS)
    if runs:
        service(sites, 'restart')
    yield paths
    if runs:
        service(sites, 'stop')  # the init script would lose sight of one without a file
    for key, path in paths.items():
        sites[key].host.check_output('rm -f %s', path)
    if runs:
        service(sites, 'start')


def service(sites, verb):
    for key, site in sites.items():
        site.host.check_output('systemctl %s %s', verb, 'uwsgi-emperor' if key in RIVALS else 'uwsgi')


def migrate(*options, fails=None):
    return playbook('uwsgi.emperor.migrate', dict(emperor_hosts='legacy'), *options, fails=fails)


@pytest.mark.parametrize(
    'guests, words',
    [
        (('a:b', '[uwsgi]\\n', False), 'a:b'),
        (('halt', '[uwsgi]\\nplugin = PYTHON\\n', False), 'halt: it is enabled'),
        (('odd', '[uwsgi]\\nplugin = nonesuch\\n', False), 'there is no plugin nonesuch'),
        (('own', '[uwsgi]\\nemperor = /srv/vassals\\n', False), 'own: '),
    ],
    indirect=['guests'],
    ids=['name', 'stopped', 'plugin', 'emperor'],
)
def test_what_cant_be_taken_over_is_refused_and_nothing_is_changed(sites, guests, words):
    before = state(sites)
    output = playbook('uwsgi.emperor.migrate', dict(emperor_hosts=','.join(guests)), fails=words)
    assert output.count('failed=1') == len(guests), output
    assert state(sites) == before


def test_it_moves_to_no_other_supervisor(sites):
    before = state(sites)
    playbook('uwsgi.emperor.migrate', dict(emperor_hosts='legacy', emperor_supervisor='systemd'), fails='-e emperor_supervisor=emperor')
    assert state(sites) == before


def test_check_mode_shows_what_would_change_and_changes_nothing(sites):
    before = state(sites)
    output = migrate('--check', '--diff')
    assert state(sites) == before
    for line in '+# What the init script gave to each application:', '+env = TITLE=%n', '-    server unix:/run/uwsgi/app/other/socket;':
        assert line.replace('    ', '  ') in output.replace('    ', '  '), output


MOODY = '[uwsgi]\\nplugin = PYTHON\\nwsgi-file = /srv/moody.py\\nneed-app = true\\nsocket = /run/uwsgi/app-of-mood.socket\\nchown-socket = www-data\\n'


@pytest.mark.parametrize('guests', [('moody', MOODY, True)], indirect=True)
def test_a_host_whose_application_does_not_come_up_is_put_back(sites, guests):
    for site in sites.values():
        site.host.check_output('for i in $(seq 50); do pgrep --full [m]oody.ini > /dev/null && break; sleep 0.1; done; sleep 1')
    before = state(sites)
    output = migrate(fails='I serve no Emperor')
    assert output.count('The host is as it was, and the applications run as before.') >= len(sites), output
    assert state(sites) == before
    for key, site in sites.items():
        assert site.facts('legacy')['master']
        assert site.host.service('uwsgi-emperor' if key in RIVALS else 'uwsgi').is_running
        assert site.host.run('pgrep --full [m]oody.ini').stdout


def test_applications_move_and_are_without_an_answer_for_less_than_five_seconds(sites):
    before = dict((key, site.facts('legacy')) for key, site in sites.items())
    for key, site in sites.items():
        site.host.check_output('systemd-run --unit=watch %s /srv/watch.py %s' % (INTERPRETER, ' '.join(LEGACY['rival' if key in RIVALS else 'script'])))
    migrate()
    for key, site in sites.items():
        emperor = int(site.host.check_output('systemctl show --property MainPID uwsgi.service').split('=')[1])
        facts = site.facts('legacy')
        assert int(site.host.check_output('ps -o ppid= -p %s', str(facts['master']))) == emperor, key
        for word in 'greeting', 'title', 'workers', 'uid', 'harakiri':
            assert facts[word] == before[key][word], '%s: %s' % (key, word)
        assert site.host.run('pgrep --parent 1 uwsgi').stdout.split() == [str(emperor)], key
        site.host.check_output('systemctl stop watch')
        for name, seconds in json.loads(site.host.check_output('cat /run/watch')).items():
            assert 0 < seconds < 5, '%s: %s for %.1f s' % (key, name, seconds)
        assert site.host.run('nginx -t').rc == 0
        assert not site.host.run('grep -rs run/uwsgi/app /etc/nginx /etc/uwsgi/apps-enabled/').stdout
    for key in SCRIPTS:
        other = sites[key].facts('other')
        assert (other['workers'], other['uid']) == (1, sites[key].host.user('games').uid)
        if 'radicale' in LEGACY['script']:
            assert sites[key].get('radicale', '/.web/')[0] == 200


def test_another_run_changes_nothing(sites):
    before = state(sites)
    output = migrate()
    assert output.count('changed=0 ') == len(sites), output
    assert state(sites) == before


def test_the_applications_come_back_at_the_next_boot_without_their_former_services(sites):
    for site in sites.values():
        os.system('podman restart --time 3 %s > /dev/null' % site.host.backend.name)
    for key, site in sites.items():
        site.host.check_output('for i in $(seq 100); do systemctl is-active nginx uwsgi > /dev/null && break; sleep 0.1; done')
        site.host.check_output(ANSWERS)
        emperor = site.host.check_output('systemctl show --property MainPID uwsgi.service').split('=')[1]
        assert site.host.run('pgrep --parent 1 uwsgi').stdout.split() == [emperor], key
        assert site.host.run('systemctl is-enabled uwsgi-emperor').stdout.strip() != 'enabled'


def test_the_way_back_leads_to_where_the_host_was_though_a_step_of_it_fails(sites):
    for key, site in sites.items():
        kept = site.host.check_output('ls -dt /var/backups/uwsgi-migration.* | head -1')
        site.host.check_output('cd %s && (echo nowhere.service; cat enabled) > wrong && mv wrong enabled', kept)
        result = site.host.run('%s/restore', kept)
        assert result.rc == 1 and result.stderr.endswith('these failed:\n  systemctl enable nowhere.service\n'), key + ': ' + result.stderr
        site.host.check_output(ANSWERS)
        assert not site.host.file('/etc/systemd/system/uwsgi.service').exists
        assert site.host.service('uwsgi-emperor' if key in RIVALS else 'uwsgi').is_running
