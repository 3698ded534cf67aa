# -*- coding: utf-8 -*-
# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils._migration import (
    add_options,
    convert,
    convert_vassal,
    environment,
    inherited,
    leftovers,
    read_shell,
    rewrite_nginx,
    section_options,
)

# Debian 8's and Debian 12's, less their comments.
DEBIAN_8 = [
    ('autoload', 'true'), ('master', 'true'), ('workers', '2'), ('no-orphans', 'true'),
    ('pidfile', '/run/uwsgi/%(deb-confnamespace)/%(deb-confname)/pid'), ('socket', '/run/uwsgi/%(deb-confnamespace)/%(deb-confname)/socket'),
    ('chmod-socket', '660'), ('log-date', 'true'), ('uid', 'www-data'), ('gid', 'www-data'),
]  # fmt: skip
DEBIAN_12 = [('declare-option', 'deb-confname=$1')] + DEBIAN_8[1:] + [('chown-socket', 'www-data')]


@pytest.mark.parametrize(
    'previous, wanted',
    [
        ('plugin = uwsgi_rack_ruby21', 'plugin = rack_ruby21'),
        ('plugins=uwsgi_python,http , uwsgi_logfile', 'plugins=python,http , logfile'),
        ('need-plugin = 0:uwsgi_python', 'need-plugin = 0:python'),
        ('  plugins: uwsgi_python3', '  plugins: python3'),
        ('{"uwsgi": {"plugins": "uwsgi_psgi", "module": "uwsgi_app"}}', '{"uwsgi": {"plugins": "psgi", "module": "uwsgi_app"}}'),
        ('"plugins": ["uwsgi_psgi", "uwsgi_ping"],', '"plugins": ["psgi", "ping"],'),
        ('<plugin>uwsgi_lua</plugin>', '<plugin>lua</plugin>'),
        ('module = uwsgi_app', 'module = uwsgi_app'),
        ('plugins-dir = /srv/uwsgi_plugins', 'plugins-dir = /srv/uwsgi_plugins'),
        ('socket = /run/uwsgi/app/redmine/socket', 'socket = /run/uwsgi/redmine.socket'),
        ('socket = /var/run/uwsgi/app/a.b-c/socket', 'socket = /run/uwsgi/a.b-c.socket'),
        ('stats = /run/uwsgi/%(deb-confnamespace)/%(deb-confname)/stats.sock', 'stats = /run/uwsgi/app/%n/stats.sock'),
        ('env = NAME=%(deb-confname)', 'env = NAME=%n'),
        ('env = SPACE=%(deb-confnamespace)', 'env = SPACE=app'),
        ('logto = /var/log/uwsgi/app/redmine.log', 'logto = /var/log/uwsgi/redmine.log'),
        ('daemonize = /var/log/uwsgi/%(deb-confnamespace)/%(deb-confname).log', 'logto = /var/log/uwsgi/%n.log'),
        ('  daemonize: /srv/app.log', '  logto: /srv/app.log'),
        ('<daemonize>/srv/app.log</daemonize>', '<logto>/srv/app.log</logto>'),
        ('  "daemonize": "/srv/app.log",', '  "logto": "/srv/app.log",'),
        ('# plugin = uwsgi_rack', '# plugin = uwsgi_rack'),
        ('; socket = /run/uwsgi/app/redmine/socket', '; socket = /run/uwsgi/app/redmine/socket'),
        (u'env = TITLE=Grüße', u'env = TITLE=Grüße'),
        ('', ''),
    ],
)
def test_a_line_of_an_applications_file_is_converted_in_each_format(previous, wanted):
    assert convert(previous) == wanted
    assert convert(wanted) == wanted


def test_the_lines_around_stay_as_they_are():
    text = '; mine\r\n[uwsgi]\n\n plugin = uwsgi_rack \nno line end'
    assert convert(text) == text.replace('uwsgi_rack', 'rack')


@pytest.mark.parametrize(
    'given, own, wanted',
    [
        (DEBIAN_8, [], []),
        (DEBIAN_12, [], []),
        (DEBIAN_8, [('workers', '8')], []),
        (DEBIAN_8 + [('harakiri', '30')], [], [('harakiri', '30')]),
        (DEBIAN_8 + [('harakiri', '30')], [('harakiri', '30')], []),
        (DEBIAN_8 + [('plugin', 'uwsgi_x'), ('stats', '/run/uwsgi/%(deb-confnamespace)/%(deb-confname)/stats')], [],
         [('plugin', 'uwsgi_x'), ('stats', '/run/uwsgi/app/%n/stats')]),
        ([('master', '1'), ('workers', '4'), ('uid', 'web'), ('gid', 'www-data')], [], [('workers', '4'), ('uid', 'web')]),
        ([('master', 'true')], [], [('workers', '1'), ('uid', 'root'), ('gid', 'root')]),
        ([('processes', '2')], [('uid', 'web'), ('gid', 'web')], []),
    ],
)  # fmt: skip
def test_what_an_application_inherited_is_its_own_unless_the_defaults_say_so(given, own, wanted):
    assert inherited(given, own) == wanted


@pytest.mark.parametrize(
    'text, wanted',
    [
        ('[uwsgi]\nworkers = 1\n', '[uwsgi]\n# why\na = b\nworkers = 1\n'),
        ('[other]\nx = y\n [uwsgi] \nworkers = 1', '[other]\nx = y\n [uwsgi] \n# why\na = b\nworkers = 1'),
        ('[uwsgi]', '[uwsgi]\n# why\na = b\n'),
        ('', '[uwsgi]\n# why\na = b\n'),
    ],
)
def test_options_go_before_a_files_own(text, wanted):
    assert add_options(text, [('a', 'b')], 'why') == wanted


def test_texts_that_are_not_ascii_go_together():
    text = '[uwsgi]\n; Grüße\nenv = GREETING=Grüße\n'
    given = section_options('[uwsgi]\nenv = TITLE=皇帝\nenv = GREETING=Grüße\n') + environment([('MOOD', 'größer')])
    options = [option for option in inherited(given, section_options(text)) if option[0] == 'env']
    assert options == [('env', 'TITLE=皇帝'), ('env', 'MOOD=größer')]
    assert add_options(text, options, 'why') == '[uwsgi]\n# why\nenv = TITLE=皇帝\nenv = MOOD=größer\n; Grüße\nenv = GREETING=Grüße\n'
    assert isinstance(add_options(text, options, 'why'), str)


def test_a_file_without_a_section_gets_it_and_nothing_else():
    assert add_options('\n', [], 'why') == '[uwsgi]\n\n'
    assert add_options('[uwsgi]\nx = y', [], 'why') == '[uwsgi]\nx = y'


@pytest.mark.parametrize(
    'text, exported',
    [
        ('# nothing\n\nVERBOSE=yes\nINHERITED_CONFIG=/usr/share/uwsgi/conf/default.ini  # theirs\n', []),
        ('export LANG=de_DE.UTF-8 TZ="Europe/Berlin"\n', [('LANG', 'de_DE.UTF-8'), ('TZ', 'Europe/Berlin')]),
        ("MOOD='$good'\nexport MOOD\n", [('MOOD', '$good')]),
        ('export NEVER_SET\n', []),
    ],
)
def test_assignments_of_the_init_scripts_settings_are_read(text, exported):
    variables, found, problems = read_shell(text)
    assert (found, problems) == (exported, [])
    if 'INHERITED' in text:
        assert variables['INHERITED_CONFIG'] == '/usr/share/uwsgi/conf/default.ini'


@pytest.mark.parametrize('line', ['ulimit -n 4096', '. /etc/more', 'export PATH=/opt/bin:$PATH', 'A=`date`', 'if true; then', 'export "A', 'B="$A"'])
def test_shell_that_would_have_to_be_run_is_a_problem(line):
    (problem,) = read_shell('VERBOSE=no\n%s\n' % line)[2]
    assert '/etc/default/uwsgi, line 2' in problem and line in problem


def test_what_was_exported_becomes_options():
    assert environment([('TZ', 'UTC'), ('UWSGI_BUFFER_SIZE', '8192')]) == [('env', 'TZ=UTC'), ('buffer-size', '8192')]


@pytest.mark.parametrize(
    'text, user, wanted',
    [
        ('[uwsgi]\nuid = nobody\nworkers = 3\n', 'www-data', '[uwsgi]\nuid = www-data\nworkers = 3\n'),
        ('[uwsgi]\nprocesses = 3\n', 'www-data', '[uwsgi]\nprocesses = 3\n'),
        ('[uwsgi]\nworkers = 3\n', 'web', '[uwsgi]\n# As it ran under uwsgi-emperor:\nuid = web\ngid = web\nworkers = 3\n'),
        ('[uwsgi]\nuid = web\ngid = web\n', None, '[uwsgi]\n# As it ran under uwsgi-emperor:\nworkers = 1\nuid = web\ngid = web\n'),
    ],
)
def test_a_vassal_of_uwsgi_emperor_goes_on_as_it_ran(text, user, wanted):
    assert convert_vassal(text, user, user) == wanted
    assert convert_vassal(wanted, user, user) == wanted


@pytest.mark.parametrize(
    'previous, wanted',
    [
        ('uwsgi_pass unix:/run/uwsgi/app/redmine/socket;', 'uwsgi_pass unix:/run/uwsgi/redmine.socket;'),
        ('uwsgi_pass unix:///run/uwsgi/app/redmine/socket;', 'uwsgi_pass unix:///run/uwsgi/redmine.socket;'),
        ('server unix:/var/run/uwsgi/app/a.b/socket weight=2;', 'server unix:/run/uwsgi/a.b.socket weight=2;'),
        ('uwsgi_pass unix:/run/uwsgi/app/redmine/socket2;', 'uwsgi_pass unix:/run/uwsgi/app/redmine/socket2;'),
        ('uwsgi_pass "unix:/run/uwsgi/app/$app/socket";', 'uwsgi_pass "unix:/run/uwsgi/app/$app/socket";'),
    ],
)
def test_the_sockets_that_nginx_names_are_replaced(previous, wanted):
    assert rewrite_nginx(previous) == wanted
    assert bool(leftovers(wanted)) is (previous == wanted)


def test_a_comment_is_no_leftover():
    assert leftovers('# /run/uwsgi/app/x/socket\n') == []
