# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the running service answers on a host that the role set up."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest
from conftest import BY_SYSTEMD

SCENARIOS = ['default', 'jessie', 'systemd']


def has_init_script(host):
    return host.file('/etc/init.d/uwsgi').exists


@pytest.fixture
def radicale(host):
    if not host.file('/etc/uwsgi/apps-available/radicale.ini').exists:
        pytest.skip('Debian 8 has no file of it for uWSGI')


@pytest.mark.usefixtures('radicale')
def test_radicale_of_debians_package_answers_through_nginx(site):
    status, body = site.get('radicale', '/.web/')
    assert status == 200
    assert 'Radicale' in body


@pytest.mark.usefixtures('radicale')
def test_radicale_runs_as_the_user_that_its_package_names(host, supervisor_pid):
    vassals = host.check_output('ps -o user= -o args= --ppid %s', str(supervisor_pid))
    assert any(line.split()[0] == 'radicale' and 'radicale.ini' in line for line in vassals.splitlines()), vassals


def test_what_a_vassal_sets_wins_over_the_defaults(host, site):
    facts = site.facts('hello')
    assert facts['workers'] == 3
    assert facts['uid'] == host.user('games').uid
    assert facts['greeting'] == u'Grüße vom Kaiser'
    assert facts['title'] == u'皇帝'


def test_an_application_opens_files_as_utf_8_on_a_host_without_a_locale(site):
    assert site.facts('hello')['encoding'] == 'UTF-8'


def test_a_rack_application_runs_with_the_defaults(host, site):
    facts = site.facts('stone')
    assert facts['greeting'] == u'Grüße vom Stein'
    assert facts['uid'] == host.user('www-data').uid
    workers = host.check_output('pgrep --parent %s', str(facts['master'])).split()
    assert len(workers) == 2


def test_the_supervisor_is_the_parent_of_each_application(host, site, supervisor_pid):
    assert (supervisor_pid == 1) is BY_SYSTEMD
    for name in 'hello', 'stone':
        assert int(host.check_output('ps -o ppid= -p %s', str(site.facts(name)['master']))) == supervisor_pid


def test_no_uwsgi_runs_beside(host, supervisor_pid):
    found = host.run('pgrep --parent 1 uwsgi').stdout.split()
    units = host.check_output('systemctl show --property MainPID "uwsgi@*.service"').replace('MainPID=', '').split()
    assert sorted(found) == (sorted(units) if BY_SYSTEMD else [str(supervisor_pid)])


def test_systemd_knows_the_service_as_a_unit_and_not_as_an_init_script(host):
    shown = host.check_output('systemctl show --property Type,LoadState,ActiveState,UnitFileState uwsgi.service').splitlines()
    wanted = ['ActiveState=active', 'LoadState=loaded', 'Type=notify', 'UnitFileState=enabled']
    if BY_SYSTEMD:
        wanted = ['ActiveState=inactive', 'LoadState=masked', 'UnitFileState=masked']
    assert sorted(line for line in shown if line != 'Type=') == wanted


@pytest.mark.skipif(BY_SYSTEMD, reason='its units are looked at in test_supervisors')
def test_systemd_has_nothing_against_the_unit(host):
    verified = host.run('systemd-analyze verify /etc/systemd/system/uwsgi.service')
    assert [line for line in (verified.stdout + verified.stderr).splitlines() if 'uwsgi' in line] == []


def test_an_application_of_the_init_script_is_supervised_now(host, site, supervisor_pid):
    if has_init_script(host):
        master = site.facts('legacy')['master']
        assert int(host.check_output('ps -o ppid= -p %s', str(master))) == supervisor_pid


def test_a_disabled_application_of_the_init_script_does_not_run(host):
    assert host.run('pgrep --full [o]ld-blog.ini').stdout == ''


def test_the_applications_come_back_with_the_service(host, site):
    previous = site.facts('hello')['master']
    host.check_output('systemctl restart %s', 'uwsgi@hello.service' if BY_SYSTEMD else 'uwsgi.service')
    host.check_output('curl --silent --output /dev/null --retry 20 --retry-delay 1 --fail --header "Host: hello.localhost" http://127.0.0.1/')
    assert site.facts('hello')['master'] != previous


def test_the_log_of_a_vassal_is_rotated_and_written_on(host, site):
    log = '/var/log/uwsgi/hello.log'
    host.check_output('logrotate --force /etc/logrotate.d/uwsgi-vassals')
    before = host.file(log).size
    site.get('hello', '/after-rotation')
    assert host.file(log).size > before
    assert host.file(log).contains('/after-rotation')
