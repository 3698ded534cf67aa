# -*- coding: utf-8 -*-
# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import posixpath

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils._scan import CHANGES, Access, Unclear, scan


class Files(Access):
    """Files in memory; a directory's text is True, a fifo's False."""

    environment = {u'HOME': u'/root', u'EXEC': u'exec'}
    hostname = u'host'
    directory = u'/etc/uwsgi/apps-enabled'

    def __init__(self, files=()):
        self.files = dict(files)
        self.staged = {}
        self.others = set()  # what others than root may change

    def read(self, path):
        found = self.files.get(posixpath.normpath(path))
        if found in (True, False):
            raise Unclear('it is no regular file')
        return found

    def is_directory(self, path):
        return self.files.get(path) is True

    def alterable(self, path):
        return posixpath.normpath(path) in self.others

    def real(self, path):
        return posixpath.normpath(path)

    def stage(self, name, text):
        path = u'/staged/%d/%s' % (len(self.staged), name)
        self.staged[path] = text
        return path


def look(text, files=(), name='foo.ini', options=('--include', '/etc/uwsgi/defaults.ini'), written=True, others=()):
    """(the Scan, the texts that uWSGI gets in place of others)."""
    host = Files(files)
    host.others = set(others)
    path = u'/etc/uwsgi/apps-enabled/' + name
    if written:
        host.files[path] = text
    kind = {'.ini': '--ini', '.xml': '--xml', '.json': '--json', '.js': '--json'}.get(posixpath.splitext(name)[1], '--yaml')
    found = scan([kind, name] + list(options), host, None if written else text, u'FOO')
    return found, host.staged


def left_out(text, files=(), name='foo.ini'):
    """What was found, as (line, option) pairs."""
    return [(one.line, one.option) for one in look(text, files, name)[0].findings]


INI = u'[uwsgi]\nplugin = python3\n%s\nworkers = 2\n'
# Each was seen to have an effect before --get ended, but for those of plugins that Debian does not have.
HARMFUL = [
    u'exec-asap = touch /tmp/x',
    u'hook-asap = exec:touch /tmp/x',
    u'call-asap = exit',
    u'mount-asap = tmpfs none /mnt',
    u'umount-asap = /mnt',
    u'exec-as-user-atexit = touch /tmp/x',
    u'hook-as-user-atexit = write:/tmp/x y',
    u'call-as-user-atexit = exit',
    u'fallback-config = /etc/uwsgi/other.ini',
    u'stop = /run/x.pid',
    u'reload = /run/x.pid',
    u'signal = /run/x.socket,1',
    u'connect-and-read = 192.0.2.1:80',
    u'extract = exec://touch /tmp/x',
    u'flock-wait = /run/lock/x',
    u'dlopen = /tmp/x.so',
    u'resolve = x=example.com',
    u'legion-node = a example.com:1',
    u'inject-before = exec://touch /tmp/x',
    u'http-zerg = /run/x.socket',
    u'ldap = ldap://example.com/x',
    u'foo = @(exec://touch /tmp/x)',
    u'foo = a@(b@(exec://touch /tmp/x))',
    u'env = SECRET=@(exec://pass show x)',
    u'foo = @($(EXEC)://touch /tmp/x)',
    u'foo = @(http://192.0.2.1/x)',
    u'foo = @(e%yxec://touch /tmp/x)',
    u'foo = @(fd://0)',
    u'foo = @(-)',
    u'foo = @(/etc/nested)',
    u'foo = @(/run/fifo)',
    u'ini = exec://touch /tmp/x',
    u'ini = exec://touch /tmp/x:section',
    u'yaml = http://192.0.2.1/x.yaml',
    u'include = exec://touch /tmp/x;:.ini',
    u'include = /etc/uwsgi/x.lua',
    u'include = /run/fifo.ini',
    u'inherit = %(x)',
    u'inherit = $(HOME)/x.ini',
    u'config = /etc/uwsgi/x.lua',
    u'set = exec-asap=touch /tmp/x',
    u'set = set=exec-asap=touch /tmp/x',
    u'declare-option = foo=exec-asap=touch $1',
    u'declare-option = foo=master=1;$1=$2',
    u'declare-option2 = foo=ini=$1',
    u'plugin = /tmp/x_plugin.so',
    u'plugins = http,0:../x',
    u'need-plugin = python3|sync',
    u'plugin = /usr/lib/uwsgi/../x',
    u'plugins-dir = /opt/uwsgi',
    u'env = OPENSSL_CONF=/tmp/x',
    u'socket = 192.0.2.1:0',
    u'http-socket = :0',
    u' \texec-asap\t= touch /tmp/x\r',
    u'exec%%-asap = x\n%n-asap = touch /tmp/x',
    u'exec-%\nasap = touch /tmp/x',
    u'%h = touch /tmp/x\nexec-asap',
]


@pytest.mark.parametrize('line', HARMFUL)
def test_what_uwsgi_would_execute_is_left_out_and_the_rest_is_read(line):
    files = {u'/etc/nested': u'x@(exec://touch /tmp/x)', u'/run/fifo': False, u'/run/fifo.ini': False}
    name = 'exec.ini' if '%n' in line else 'foo.ini'
    found, staged = look(INI % line, files, name)
    assert [one.line in (3, 4) or one.path == '/run/fifo.ini' for one in found.findings] == [True]
    assert found.arguments == ['--ini', u'/staged/0/' + name, '--include', '/etc/uwsgi/defaults.ini']
    assert [one for one in staged[found.arguments[1]].splitlines() if one and '%%' not in one and not one.startswith('%h')] == [
        u'[uwsgi]', u'plugin = python3', u'workers = 2'
    ]  # fmt: skip
    assert staged[found.arguments[1]].count('\n') == (INI % line).count('\n')


ORDINARY = [
    u'env = X=@home',
    u'env = MAIL=me@(here)',
    u'env = PATH=$(PATH)',
    u'foo = @(/etc/machine-id)',
    u'foo = %(deb-confnamespace)/%(deb-confname)',
    u'chdir = %d/..',
    u'exec-as-root = touch /tmp/x',
    u'exec-pre-app = touch /tmp/x',
    u'hook-master-start = unix_signal:15 gracefully_kill_them_all',
    u'hook-as-root = exec:touch /tmp/x',
    u'route = ^/x redirect:http://example.com/',
    u'route-run = exec://x',
    u'static-map = /x=/srv/x',
    u'plugin = 0:python3, http',
    u'plugins-dir = /usr/lib/uwsgi/plugins',
    u'plugin = /usr/lib/uwsgi/plugins/python3_plugin.so',
    u'vacuum-not = true',
    u'include = /etc/uwsgi/common.ini',
    u'ini = common.ini',
    u'ini = :other',
    u'include = /etc/uwsgi/gone.ini',
    u'if-exists = /etc/uwsgi/common.ini\ninclude = %(_)\nendif =',
    u'for = a b\nenv = X=%(_)\nendfor =',
    u'set-placeholder = x=y',
    u'declare-option = foo=static-map=/$1=/srv/$1;workers=3',
    u'http = :8080',
    u'socket = :3031',
    u'socket = 127.0.0.1:8000',
    u'spooler = /var/spool/x',
    u'; exec-asap = touch /tmp/x',
    u'#exec-asap = touch /tmp/x',
    u'exec-asap-not = 1',
    u'attach-daemon = touch /tmp/x',
    u'cron = 1 -1 -1 -1 -1 touch /tmp/x',
    u'logto = /var/log/uwsgi/%N.log',
    u'log-format = %(addr) "%(method) %(uri)" %%',
    u'title = Gr\xc3\xbc\xc3\x9fe',
    u'[other]\nexec-asap = touch /tmp/x\n[uwsgi]',
]


@pytest.mark.parametrize('line', ORDINARY)
def test_an_ordinary_line_is_read_where_it_is(line):
    files = {u'/etc/uwsgi/common.ini': INI % u'', u'/etc/uwsgi/apps-enabled/common.ini': INI % u'', u'/var/spool/x': True, u'/etc/machine-id': u'abc\n'}
    found, staged = look(INI % line, files)
    if '[other]' not in line and line != u'ini = :other':
        assert look(INI % line, files, written=False)[1] != {}
    assert (found.arguments, found.findings, found.exact, staged) == (['--ini', 'foo.ini', '--include', '/etc/uwsgi/defaults.ini'], [], True, {})


def test_what_nothing_else_depends_on_leaves_complaints_right():
    assert look(INI % u'exec-asap = x')[0].exact and look(INI % u'env = OPENSSL_CONF=x')[0].exact
    assert not look(INI % u'ini = exec://x')[0].exact and not look(INI % u'plugins-dir = /opt')[0].exact


@pytest.mark.parametrize('line', [u'spooler = /var/spool/x', u'vacuum = true'])
def test_what_uwsgi_would_make_or_remove_is_left_out_in_silence(line):
    found, staged = look(INI % line)
    assert found.findings == [] and found.exact
    assert staged == {u'/staged/0/foo.ini': INI % u''}


def test_a_section_that_is_asked_for_counts():
    text = u'[uwsgi]\nini = :other\n[other]\nexec-asap = x\nmaster = true\n'
    found, staged = look(text)
    assert [(one.line, one.option) for one in found.findings] == [(4, 'exec-asap')]
    assert staged[found.arguments[1]] == text.replace(u':other', u'/staged/0/foo.ini:other')
    assert staged[u'/staged/0/foo.ini'] == text.replace(u'exec-asap = x', u'')


def test_a_file_in_a_file_is_read_without_its_lines():
    files = {u'/etc/uwsgi/a.ini': u'[uwsgi]\ninclude = b.ini\nx = %n\n', u'/etc/uwsgi/apps-enabled/b.ini': u'[uwsgi]\nexec-asap = %d\ny = %n %d %N %%\n'}
    found, staged = look(INI % u'include = /etc/uwsgi/a.ini', files)
    assert [one.tell(True) for one in found.findings] == [
        '/etc/uwsgi/apps-enabled/b.ini: line 2, exec-asap, was left out when its configuration was checked, as uWSGI would run it'
    ]
    assert found.exact
    assert staged == {
        u'/staged/0/b.ini': u'[uwsgi]\n\ny = b /etc/uwsgi/apps-enabled/ foo %%\n',
        u'/staged/1/a.ini': u'[uwsgi]\ninclude = /staged/0/b.ini\nx = a\n',
        u'/staged/2/foo.ini': INI % u'include = /staged/1/a.ini',
    }


@pytest.mark.parametrize('option', ['include', 'inherit'])
def test_the_defaults_are_looked_at(option):
    host = Files({u'/etc/uwsgi/apps-enabled/foo.ini': INI % u'', u'/etc/uwsgi/defaults.ini': u'[uwsgi]\nvacuum = 1\nexec-asap = x\nlogto = %N\n'})
    found = scan(['--ini', 'foo.ini', '--' + option, '/etc/uwsgi/defaults.ini'], host, None, u'FOO')
    assert found.arguments == ['--ini', 'foo.ini', '--' + option, '/staged/0/defaults.ini']
    assert host.staged == {u'/staged/0/defaults.ini': u'[uwsgi]\n\n\nlogto = foo\n'}
    assert [one.path for one in found.findings] == ['/etc/uwsgi/defaults.ini']


def test_a_file_that_includes_itself_is_left_out():
    found, staged = look(INI % u'include = foo.ini')
    assert not found.exact and found.findings and len(staged) < 100


def test_a_text_that_is_not_written_is_staged_with_the_names_of_its_place():
    found, staged = look(u'[uwsgi]\nx = %n %d %p %N %h %%\n', written=False)
    assert found.arguments[:2] == ['--ini', '/staged/0/foo.ini'] and not found.findings
    assert staged == {u'/staged/0/foo.ini': u'[uwsgi]\nx = foo /etc/uwsgi/apps-enabled/ /etc/uwsgi/apps-enabled/foo.ini foo %h %%\n'}
    assert look(INI % u'exec-asap = x', written=False)[0].tell() == [
        'FOO: line 3, exec-asap, was left out when its configuration was checked, as uWSGI would run it'
    ]


@pytest.mark.parametrize(
    'loop, value, harmless',
    [
        (u'for = /a.ini /b.ini', u'%(_)', True),
        (u'for = exec://x', u'%(_)', False),
        (u'for-times = 3', u'/%(_).ini', True),
        (u'if-opt = x', u'%(_)', False),
        (u'if-env = x', u'%(_)', False),
        (u'for-glob = /etc/*.ini', u'%(_)', False),
        (u'if-exists = /fifo.ini', u'%(_)', False),
        (u'if-exists = /danger.ini', u'%(_)', False),
    ],
)
def test_what_a_loop_makes_of_a_line_is_judged(loop, value, harmless):
    files = {u'/a.ini': INI % u'', u'/fifo.ini': False, u'/danger.ini': INI % u'exec-asap = x'}
    found, staged = look(INI % (u'%s\ninclude = %s\nend =' % (loop, value)), files)
    assert (not found.findings and not staged) is harmless
    if not harmless:
        assert u'%(_)' not in staged[found.arguments[1]]


def test_in_another_format_all_of_it_is_left_out():
    for name, text in (
        ('foo.json', u'{"uwsgi": {"plugin": "python3",\n "exec-asap": "touch /tmp/x"}}'),
        ('foo.js', u'{"uwsgi": {"env": ["A=b",\n "X=@(exec://x)"]}}'),
        ('foo.json', u'{"uwsgi": {\n"\\u0065xec-asap": "x"}}'),
        ('foo.json', u'{"uwsgi": {/* so */\n"a": "/*", "exec-asap": "x", "b": "*/"}}'),
        ('foo.yaml', u'uwsgi:\n  exec-asap: touch /tmp/x\n'),
        ('foo.yml', u'uwsgi:\n  - exec-asap: touch /tmp/x\n'),
        ('foo.yml', u'uwsgi:\n  "ex\\x65c-asap": touch /tmp/x\n'),
        ('foo.yml', u'uwsgi:\n  ? exec-asap\n  : touch /tmp/x\n'),
        ('foo.yml', u'uwsgi: {exec-asap: touch /tmp/x}\n'),
        ('foo.yml', u'uwsgi:\n  env: [A=b, "X=@(exec://x)"]\n'),
        ('foo.yml', u'uwsgi:\n  plugins: [python3, /tmp/x]\n'),
        ('foo.yml', u'uwsgi:\n  include: exec://x\n'),
        ('foo.yml', u'uwsgi:\n  include: /danger.ini\n'),
        ('foo.yml', u'uwsgi:\n  a: &b exec-asap\n  *b : touch /tmp/x\n'),
        ('foo.yml', u'uwsgi:\n  spooler: /gone\n'),
        ('foo.xml', u'<uwsgi>\n<exec-asap>touch /tmp/x</exec-asap></uwsgi>'),
        ('foo.xml', u'<uwsgi>\n<x:exec-asap xmlns:x="y">touch /tmp/x</x:exec-asap></uwsgi>'),
        ('foo.xml', u'<uwsgi>\n<env>X=@(&#101;xec://x)</env></uwsgi>'),
        ('foo.xml', u'<uwsgi>\n<ini><!--exec://x--></ini></uwsgi>'),
        ('foo.xml', u'<uwsgi>\n<ini><?x exec://x?></ini></uwsgi>'),
        ('foo.xml', u'<!DOCTYPE x [<!ENTITY y "exec-asap">]>\n<uwsgi><exec-asap>x</exec-asap></uwsgi>'),
        ('foo.xml', u'<uwsgi>\n<exec-asap>touch /tmp/x</uwsgi>'),
    ):
        found, staged = look(text, {u'/danger.ini': INI % u'exec-asap = x'}, name)
        assert found.arguments is None and found.findings and not found.exact, text
        assert 'uWSGI was not asked what its configuration says because of ' in found.tell()[0], text
    assert left_out(u'uwsgi:\n  exec-asap: touch /tmp/x\n', name='foo.yml') == [(2, 'exec-asap')]


@pytest.mark.parametrize(
    'name, text',
    [
        ('foo.json', u'{"uwsgi": {"plugin": "python3", "env": ["X=@home", "A=b"], "vacuum": true, "spooler": "/there", "n": 1.5}}'),
        ('foo.json', u'{"uwsgi": {"plugin": "python3", '),
        ('foo.json', u'// so\n{"uwsgi": {"plugin": "python3"}}'),
        (
            'foo.yaml',
            u'# exec-asap: x\n---\nuwsgi:\n  plugin: python3  # exec-asap: x\n  env:\n    - "X=Gr\xc3\xbc\xc3\x9fe vom Kaiser"\n    - A=b\n  vacuum: 1\n',
        ),
        ('foo.yml', u'uwsgi:\n  plugins: [python3, http]\n  route: "^/x redirect:http://example.com/"\n  cron: 1 * * * * x\n'),
        ('foo.yml', u'uwsgi:\n\tplugin: python3\n'),
        ('foo.xml', u'<?xml version="1.0" encoding="UTF-8"?>\n<uwsgi>\n <!-- exec-asap -->\n <plugin>python3</plugin><master/>\n</uwsgi>'),
        ('foo.xml', u'<uwsgi><plugin>python3</uwsgi>'),
    ],
)
def test_an_ordinary_file_of_another_format_is_read_where_it_is(name, text):
    found, staged = look(text, {u'/there': True}, name)
    assert (found.arguments[1], found.findings, found.exact, staged) == (name, [], True, {})


@pytest.mark.parametrize(
    'words, harmless',
    [
        (['--ini', '/etc/uwsgi/emperor.ini'], ['--ini', '/etc/uwsgi/emperor.ini']),
        (['--emperor', '/etc/uwsgi/apps-enabled', '--die-on-term'], ['--emperor', '/etc/uwsgi/apps-enabled', '--die-on-term']),
        (['--ini=/danger.ini'], ['--ini', '/staged/0/danger.ini']),
        (['/danger.ini', '--master'], ['/staged/0/danger.ini', '--master']),
        (['--vassals-include', '/danger.ini'], ['--vassals-include', '/danger.ini']),
        (['-x', '/danger.xml', '--master'], ['--master']),
        (['-Mx/danger.xml'], []),
        (['--exec-asap', 'touch /tmp/x', '--master'], ['--master']),
        (['--exec-asa=touch /tmp/x', '--master'], ['--master']),
        (['--vacuum', '--http', ':80'], ['--http', ':80']),
        (['--env', 'X=@(exec://touch /tmp/x)', '--master'], ['--master']),
        (['exec://touch /tmp/x;:.ini', '--master'], ['--master']),
        (['--plugin', '/tmp/x'], []),
    ],
)
def test_an_emperors_arguments_are_looked_at(words, harmless):
    danger = {u'/danger.ini': INI % u'exec-asap = x', u'/danger.xml': u'<uwsgi><exec-asap>x</exec-asap></uwsgi>'}
    found = scan(words, Files(danger))
    assert found.arguments == harmless
    if '/danger.ini' in words[0] or 'asa' in words[0]:
        assert 'was left out when its configuration was checked, as uWSGI would run it' in found.tell()[0]


@pytest.mark.parametrize(
    'name, text', [('foo.ini', INI % 'a = b'), ('foo.json', u'{"uwsgi": {"plugin": "python3"}}'), ('foo.xml', u'<uwsgi><plugin>python3</plugin></uwsgi>')]
)
def test_what_others_may_change_meanwhile_uwsgi_is_given_as_it_was_found(name, text):
    path = u'/etc/uwsgi/apps-enabled/' + name
    found, staged = look(text, name=name, others=[path])
    assert found.arguments[1] in staged and staged[found.arguments[1]] == text and not found.findings and found.exact
    found, staged = look(text, name=name)
    assert found.arguments[1] == name and not staged


def test_what_a_file_includes_uwsgi_is_given_as_it_was_found_too():
    path = u'/srv/x.ini'
    for text in INI % 'include = /srv/x.ini', INI % 'ini = /srv/x.ini':
        found, staged = look(text, {path: INI % 'a = b'}, others=[path])
        (copy,) = [one for one in staged if one.endswith('/x.ini')]
        assert staged[copy] == INI % 'a = b' and not found.findings
        assert copy in staged[found.arguments[1]] and path not in staged[found.arguments[1]]
    # nor what somebody makes there
    found, staged = look(INI % 'include = /srv/x.ini', others=[path])
    assert [one.why for one in found.findings] == [CHANGES] and 'include' not in staged[found.arguments[1]]
    # where no line can be changed
    found, staged = look(u'{"uwsgi": {"include": "/srv/x.ini"}}', {path: INI % 'a = b'}, name='foo.json', others=[path])
    assert found.arguments is None and [one.why for one in found.findings] == [CHANGES]


@pytest.mark.parametrize('line, path', [(u'for-glob = /srv/x/*', u'/srv/x/*'), (u'for-readline = /srv/x', u'/srv/x')])
def test_names_and_lines_that_others_write_are_not_given_to_uwsgi(line, path):
    """They may name a fifo, which root would open and wait for."""
    loop = u'%s\npythonpath = %%(_)\nendfor =' % line
    found, staged = look(INI % loop, others=[path])
    assert [(one.line, one.option) for one in found.findings] == [(3, line.partition(u' ')[0])] and not found.exact
    assert u'for-' not in staged[found.arguments[1]]
    assert not look(INI % loop)[0].findings


@pytest.mark.parametrize('files', [{u'/srv/x': u'x'}, {}], ids=['there', 'not there yet'])
def test_a_text_that_others_may_change_meanwhile_becomes_no_value(files):
    found, staged = look(INI % 'uid = @(/srv/x)', files, others=[u'/srv/x'])
    assert [(one.line, one.option, one.why) for one in found.findings] == [(3, 'uid', CHANGES)]
    assert '@(' not in staged[found.arguments[1]]
    assert not look(INI % 'uid = @(/srv/x)', files)[0].findings
    found = look(INI % 'a = b', files, options=['--include', u'@(/srv/x)'], others=[u'/srv/x'])[0]
    assert u'@(/srv/x)' not in found.arguments
