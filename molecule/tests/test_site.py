# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What another run of the site playbook does when something was changed."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

from conftest import BY_ROLE, BY_SYSTEMD, executions, playbook

SCENARIOS = ['jessie', 'systemd', 'units']


def test_a_run_that_changes_nothing_asks_once_and_looks_at_the_vassals_once():
    extra = dict(emperor_hosts=','.join(BY_ROLE))
    # other tests may have left something to put right
    playbook('uwsgi.emperor.site', extra)
    for options in (), ('--check',):
        modules = executions('uwsgi.emperor.site', extra, *options)
        assert modules == dict((host, ['uwsgi.emperor.uwsgi_host_info', 'uwsgi.emperor.uwsgi_vassal']) for host in BY_ROLE)


def test_changed_defaults_reach_the_vassals_by_a_reload_once(sites):
    # one host is enough, as the role does the same on each, and a run of the playbook takes longer than all else here
    host = BY_ROLE[-1]
    site = sites[host]
    before = site.facts('hello')
    # and it puts right what applications could do on a host of an older release, without a restart of what runs
    site.host.check_output('chgrp www-data /run/uwsgi && chmod 2775 /run/uwsgi && rmdir /run/uwsgi/app/* /run/uwsgi/app; ln -s /root /run/uwsgi/app')
    site.host.check_output('chown -h www-data /run/uwsgi/app && chmod 0711 /root')
    plant = 'cd /run/uwsgi; rm -f hello.pid stone.pid; ln -s /etc/shadow hello.pid; mkfifo stone.pid; mkdir guest.socket; echo 1 > guest.pid; mkfifo guest.fifo'
    site.host.check_output('su -s /bin/sh -c %s www-data', plant)
    extra = dict(emperor_hosts=host, emperor_defaults={'harakiri': 77})
    if not BY_SYSTEMD:
        # the first run is lost on its way, between the file and the reload
        playbook('uwsgi.emperor.site', dict(extra, emperor_options={'nonesuch': 1}), fails='nonesuch')
    assert '77' not in site.facts('hello')['harakiri']
    playbook('uwsgi.emperor.site', extra)
    after = site.facts('hello')
    found = site.host.check_output('stat -c "%n %U:%G %a %F" /run/uwsgi /run/uwsgi/app /root; ls /run/uwsgi').splitlines()
    site.host.check_output('chmod 0700 /root; rm -f /run/uwsgi/guest.fifo')
    assert found[:3] == ['/run/uwsgi root:root 755 directory', '/run/uwsgi/app root:root 755 directory', '/root root:root 711 directory']
    assert not set(found[3:]) & set(['hello.pid', 'stone.pid', 'guest.socket', 'guest.pid']) and 'guest.fifo' in found
    assert '77' in after['harakiri']
    assert after['master'] == before['master']
    recap = playbook('uwsgi.emperor.site', extra)
    assert recap.count('changed=0 ') == 1, recap
    # and it names what a host is too old for
    old = site.host.check_output('uwsgi-core --version').startswith('2.0.7')
    assert ('are too old for them: emperor-graceful-shutdown, hook-master-start.' in ' '.join(recap.split())) is old, recap
