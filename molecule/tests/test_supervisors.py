# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applications that systemd supervises itself: its verbs, what they leave of the socket and the links, and the move to the Emperor and back."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import re
import time

import pytest
from conftest import BY_ROLE, ad_hoc, drive, playbook
from test_units import FILE, GOOD, LINK, PATIENCE, RUNS, SLOW, agree, everywhere, facts, masters, python

SCENARIOS = ['systemd']

# Eight clients of nginx, until a file is there, who leave the host time for something else; prints how many requests there were,
# and how many of them failed.
LOAD = """
import http.client, os, threading, time
counts = []
end = time.time() + 150
def client():
    made = failed = 0
    while time.time() < end and not os.path.exists('/tmp/load-ends'):
        time.sleep(0.05)
        made += 1
        try:
            connection = http.client.HTTPConnection('127.0.0.1', timeout=30)
            connection.request('GET', '/', headers={'Host': 'hello.localhost'})
            failed += connection.getresponse().status != 200
            connection.close()
        except Exception:
            failed += 1
    counts.append((made, failed))
threads = [threading.Thread(target=client) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(made for made, failed in counts), sum(failed for made, failed in counts))
"""


class Load(object):
    """Requests to each host's application, under way."""

    def __init__(self, sites):
        self.sites = sites
        for site in sites.values():
            site.host.check_output('rm -f /tmp/load-ends /tmp/load; nohup python3 -c %s > /tmp/load 2>&1 < /dev/null &', LOAD)
        time.sleep(1)

    def counts(self):
        """(requests, failed ones) of each host."""
        time.sleep(1)
        found = {}
        for name, site in self.sites.items():
            site.host.check_output('touch /tmp/load-ends; for i in $(seq 300); do [ -s /tmp/load ] && break; sleep 0.1; done')
            found[name] = tuple(map(int, site.host.check_output('cat /tmp/load').split()))
        return found


def told(sites, vassal, pattern):
    """Waits until a unit's journal says something on all hosts."""
    end = time.time() + PATIENCE
    while True:
        said = everywhere(sites, 'journalctl -q -o cat -n 50 -u uwsgi@%s' % vassal)
        if all(re.search(pattern, lines) for lines in said.values()):
            return
        assert time.time() < end, said
        time.sleep(0.2)


@pytest.mark.parametrize('how', ['systemctl', 'module'])
def test_no_request_fails_while_an_application_restarts(sites, how):
    before = facts('hello')
    load = Load(sites)
    if how == 'systemctl':
        everywhere(sites, 'systemctl restart uwsgi@hello')
    else:
        drive(dict(name='hello', state='restarted'))
    for name, (requests, failed) in load.counts().items():
        assert requests > 100 and failed == 0, '%s: %d of %d' % (name, failed, requests)
    after = facts('hello')
    assert all(after[name]['pid'] not in (None, before[name]['pid']) for name in before)


def test_a_stopped_application_answers_nobody_and_is_still_enabled(sites):
    everywhere(sites, 'systemctl stop uwsgi@stone')
    agree(sites, 'stone', 'inactive', True)
    assert all(site.get('stone')[0] == 502 for site in sites.values())
    agree(sites, 'stone', 'inactive', True)
    everywhere(sites, 'systemctl start uwsgi@stone')
    assert all(site.get('stone')[0] == 200 for site in sites.values())
    before = facts('stone')
    everywhere(sites, 'systemctl reload uwsgi@stone')
    assert all(site.get('stone')[0] == 200 for site in sites.values())
    assert all(one['pid'] == before[name]['pid'] for name, one in facts('stone').items())


def test_links_units_and_the_module_agree(sites):
    everywhere(sites, 'systemctl disable uwsgi@stone')
    agree(sites, 'stone', 'active', False)
    everywhere(sites, 'systemctl enable uwsgi@stone')
    agree(sites, 'stone', 'active', True)
    everywhere(sites, 'rm ' + LINK % 'stone')
    agree(sites, 'stone', 'inactive', False)
    everywhere(sites, 'ln -s ../apps-available/stone.ini ' + LINK % 'stone')
    agree(sites, 'stone', 'active', True)
    drive(dict(name='stone', state='disabled'))
    agree(sites, 'stone', 'inactive', False)
    drive(dict(name='stone'))
    agree(sites, 'stone', 'active', True)
    # what agrees is left alone
    time.sleep(1)
    agree(sites, 'stone', 'active', True)


def test_a_new_application_is_enabled_and_started_at_once(sites):
    everywhere(sites, 'cp %s %s; systemctl enable --now uwsgi@fresh' % (FILE % 'hello', FILE % 'fresh'))
    assert all(one['accepting'] for one in facts('fresh').values())
    agree(sites, 'fresh', 'active', True)
    everywhere(sites, 'systemctl disable --now uwsgi@fresh')
    agree(sites, 'fresh', 'inactive', False)
    drive(dict(name='fresh', state='absent'))
    everywhere(sites, 'systemctl start uwsgi@fresh', fails=True)
    told(sites, 'fresh', 'Reason: there is no /etc/uwsgi/apps-available/fresh.ini')
    everywhere(sites, 'systemctl stop uwsgi@fresh; systemctl reset-failed uwsgi@fresh 2> /dev/null; true')


def test_a_crash_loop_is_told_by_systemctl_and_given_up(sites):
    everywhere(sites, 'printf "[uwsgi]\\nplugin = python3\\nneed-app = true\\nmodule = nowhere\\n" > ' + FILE % 'failing')
    try:
        everywhere(sites, 'systemctl start uwsgi@failing', fails=True)
        told(sites, 'failing', "Reason: (ModuleNotFound|Import)Error: No module named '?nowhere")
        for name, said in everywhere(sites, 'systemctl is-active uwsgi@failing', fails=True).items():
            # deactivating while its journal is told why it died
            assert said.strip() in ('activating', 'deactivating', 'failed'), '%s: %s' % (name, said)
        for name, result in ad_hoc('uwsgi_vassal', dict(name='failing', timeout=20)).items():
            assert result['failed'] and 'No module named' in result['msg'], '%s: %s' % (name, result)
        agree(sites, 'failing', 'inactive', False)
        everywhere(sites, 'test -e /run/uwsgi/failing.socket && ss -xl | grep -q failing.socket', fails=True)
    finally:
        drive(dict(name='failing', state='absent'))


def test_what_debians_own_unit_serves_is_not_started_twice(sites):
    hosts = tuple(name for name in BY_ROLE if sites[name].host.file('/lib/systemd/system/uwsgi-app@.socket').exists)
    everywhere(sites, 'cp %s %s; systemctl start uwsgi-app@served.socket' % (FILE % 'hello', FILE % 'served'), hosts=hosts)
    try:
        for name, result in ad_hoc('uwsgi_vassal', dict(name='served'), hosts=hosts).items():
            assert result['failed'] and 'systemctl disable --now uwsgi-app@served.socket' in result['msg'], '%s: %s' % (name, result)
        everywhere(sites, 'systemctl is-active uwsgi-app@served.socket && systemctl start uwsgi@served', hosts=hosts)
        everywhere(sites, 'systemctl is-active uwsgi-app@served.socket uwsgi-app@served.service', fails=True, hosts=hosts)
        for name, one in facts('served', hosts).items():
            assert (one['accepting'], one['enabled']) == (True, False), '%s: %s' % (name, one)
    finally:
        drive(dict(name='served', state='absent'), hosts=hosts)


def test_systemd_takes_the_units_without_a_warning(sites):
    units = '/etc/systemd/system/uwsgi-vassals.service uwsgi@stone.service uwsgi@stone.socket'
    for name, said in everywhere(sites, 'systemd-analyze verify %s 2>&1' % units).items():
        assert 'uwsgi' not in said, '%s: %s' % (name, said)


def test_a_socket_is_opened_as_often_as_an_application_is_started(sites):
    everywhere(sites, 'for time in 1 2 3 4 5 6 7 8; do systemctl restart uwsgi@none.socket || exit; done; systemctl stop uwsgi@none.socket')


def test_a_name_that_systemd_has_no_unit_for_is_refused(sites):
    for options in ((), ('--check',)):
        for name, result in ad_hoc('uwsgi_vassal', dict(name='a+b', config=dict(plugin='python3')), *options).items():
            assert result['failed'] and 'a+b: under systemd a name consists of' in result['msg'], '%s: %s' % (name, result)
    everywhere(sites, 'test ! -e ' + FILE % 'a+b')


def test_all_move_to_the_emperor_and_back_and_none_runs_twice(sites):
    playbook('uwsgi.emperor.site', dict(emperor_hosts='emperor', emperor_supervisor='emperor'))
    for name, said in everywhere(sites, 'cat /proc/$(systemctl show -p MainPID uwsgi | cut -d = -f 2)/cmdline').items():
        assert 'emperor.ini' in said, '%s: %s' % (name, said)
    for vassal in 'hello', 'stone':
        for name, one in facts(vassal).items():
            assert one['accepting'], '%s: %s' % (name, one)
            emperor = sites[name].host.check_output('systemctl show -p MainPID uwsgi').split('=')[1]
            assert sites[name].host.check_output('ps -o ppid= -p %d' % one['pid']).strip() == emperor
        agree(sites, vassal, 'active', True)
    everywhere(sites, 'test -e /etc/systemd/system/uwsgi@.socket', fails=True)
    everywhere(sites, '[ "$(pgrep -fc "[-]-ini stone.ini")" = 3 ]')
    recap = playbook('uwsgi.emperor.site', dict(emperor_hosts='emperor', emperor_supervisor='emperor'))
    assert recap.count('changed=0 ') == len(BY_ROLE), recap

    load = Load(sites)
    playbook('uwsgi.emperor.site', dict(emperor_hosts='emperor'))
    for name, (requests, failed) in load.counts().items():
        # but those that come in the moment in which the one socket takes the other's place
        assert requests > 100 and failed < requests / 10, '%s: %d of %d' % (name, failed, requests)
    for vassal in 'hello', 'stone':
        for name, one in facts(vassal).items():
            assert one['accepting'] and sites[name].host.check_output('ps -o ppid= -p %d' % one['pid']).strip() == '1', '%s: %s' % (name, one)
        agree(sites, vassal, 'active', True)
    everywhere(sites, 'systemctl is-active uwsgi.service', fails=True)
    everywhere(sites, '[ "$(pgrep -fc "[-]-ini stone.ini")" = 3 ]')


def test_a_reload_that_fails_fails_for_systemctl_and_the_application_runs_on(sites):
    before = facts('stone')
    everywhere(sites, 'echo "plugin = nowhere" >> ' + FILE % 'stone')
    try:
        everywhere(sites, 'systemctl reload uwsgi@stone', fails=True)
        told(sites, 'stone', 'there is no plugin nowhere')
    finally:
        everywhere(sites, 'sed -i /nowhere/d ' + FILE % 'stone')
    assert all(site.get('stone')[0] == 200 for site in sites.values())
    # its link is what uWSGI would read again
    everywhere(sites, 'systemctl disable uwsgi@stone')
    agree(sites, 'stone', 'active', False)
    everywhere(sites, 'systemctl reload uwsgi@stone', fails=True)
    agree(sites, 'stone', 'active', False)
    everywhere(sites, 'systemctl enable uwsgi@stone')
    agree(sites, 'stone', 'active', True)
    assert all(one['pid'] == before[name]['pid'] for name, one in facts('stone').items())
    # one that was started without being enabled is reloaded, and stays so
    everywhere(sites, 'cp -p %s %s; systemctl start uwsgi@fresh' % (FILE % 'hello', FILE % 'fresh'))
    before = masters(sites, 'fresh')
    everywhere(sites, 'systemctl reload uwsgi@fresh')
    assert masters(sites, 'fresh') == before
    agree(sites, 'fresh', 'active', False)
    drive(dict(name='fresh', state='absent'))


@pytest.mark.parametrize('options', [[], ['lazy-apps = true']], ids=['', 'lazy'])
def test_what_is_just_starting_is_stopped_restarted_and_removed_soon(sites, options):
    python(sites, 'slow', SLOW % 4, *options)
    try:
        for pause in '0', '0.1', '1':
            everywhere(sites, 'systemctl start --no-block uwsgi@slow; sleep %s; timeout 20 systemctl restart uwsgi@slow' % pause)
            agree(sites, 'slow', 'active', False)
            everywhere(sites, 'systemctl restart --no-block uwsgi@slow; sleep %s; timeout 20 systemctl stop uwsgi@slow' % pause)
            agree(sites, 'slow', 'inactive', False)
        for state in 'disabled', 'absent':
            python(sites, 'slow', SLOW % 30, *options)
            everywhere(sites, 'systemctl start --no-block uwsgi@slow; ' + RUNS)
            for name, result in drive(dict(name='slow', state=state, timeout=40)).items():
                assert result['vassals'][0]['elapsed'] < 20, '%s: %s' % (name, result)
            agree(sites, 'slow', 'inactive', False)
            assert set(masters(sites, 'slow').values()) == set([None])
    finally:
        drive(dict(name='slow', state='absent'))


# Its workers take so long to come out of their first instants.
YOUNG = GOOD + 'import time\nimport uwsgi\nuwsgi.post_fork_hook = lambda: time.sleep(4)\n'


def test_what_has_just_made_its_workers_is_restarted_and_stopped_soon(sites):
    python(sites, 'young', YOUNG)
    try:
        everywhere(sites, 'systemctl start uwsgi@young; timeout 20 systemctl restart uwsgi@young; timeout 20 systemctl stop uwsgi@young')
        agree(sites, 'young', 'inactive', False)
    finally:
        drive(dict(name='young', state='absent'))


def test_systemd_has_read_its_files_after_the_module_changed_links(sites):
    for state in 'disabled', 'enabled':
        drive(dict(name='stone', state=state))
        told_to_read = 'for i in $(seq 100); do systemctl show -p NeedDaemonReload uwsgi@stone | grep -q =no && exit; sleep 0.1; done; exit 1'
        everywhere(sites, 'sleep 1; ' + told_to_read)
