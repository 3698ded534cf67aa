# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re

import pytest
from ansible.module_utils.common.text.converters import to_text
from ansible_collections.uwsgi.emperor.plugins.module_utils import _alterable, _configuration, _files
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import Files


@pytest.fixture
def configurations(tmp_path, monkeypatch):
    """Those of a uWSGI which notes each start and knows the options named in a vassal's file, but not `wrong`."""
    uwsgi = tmp_path / 'uwsgi'
    uwsgi.write_text(
        to_text(
            """#!/bin/sh
            echo "$@" >> %s/calls
            case " $* " in *" --strict "*) grep -q wrong "$3" && { echo "unknown config directive: wrong" >&2; exit 1; };; esac
            while [ $# -gt 0 ]; do
                [ "$1" != --ini ] || file=$2
                if [ "$1" = --get ]; then
                    case $2 in uwsgi-vassal-mark) echo '%s';; logto) (cd "$(dirname "$file")"; pwd);; esac
                    shift
                fi
                shift
            done
            """
            % (tmp_path, _configuration._MARK)
        )
    )
    uwsgi.chmod(0o755)
    monkeypatch.setattr(_files, 'STAGE', str(tmp_path / 'stage.'))
    (tmp_path / 'available').mkdir()
    result = _configuration.Configurations(Files(str(tmp_path / 'available'), str(tmp_path / 'available')), list)
    result.binary = str(uwsgi)
    result.calls = lambda: len((tmp_path / 'calls').read_text().splitlines())

    def write(name, text):
        (tmp_path / 'available' / name).write_bytes(text)
        result.wrote(name, text)

    result.write = write
    return result


def test_what_was_read_ahead_is_not_read_again(configurations):
    for name in ('a.ini', 'b.ini'):
        configurations.write(name, b'[uwsgi]\n')
    configurations.read([('a.ini', None), ('b.ini', None)])
    assert configurations.calls() == 2
    assert configurations.options('a.ini') == {'logto': configurations.files.available_dir}
    assert configurations.lint('b.ini') == []
    assert configurations.calls() == 2


def test_a_reading_that_does_not_end_is_told(configurations, monkeypatch):
    monkeypatch.setattr(_configuration, 'READING', 0.2)
    configurations.write('a.ini', b'[uwsgi]\n')
    with open(configurations.binary, 'w') as handle:
        handle.write('#!/bin/sh\nexec sleep 60\n')
    assert configurations.lint('a.ini') == ['uWSGI did not say within 0.2 s what it has for a configuration']


def test_a_text_is_read_where_its_directories_are_still_to_be_made(configurations, tmp_path):
    configurations.files.available_dir = configurations.files.enabled_dir = str(tmp_path / 'nowhere')
    assert configurations.lint('a.ini', b'[uwsgi]\nwrong = 1\n') == ['wrong is no option of this uWSGI and its plugins']
    assert configurations.lint('a.ini', b'[uwsgi]\n') == []


def test_the_options_are_those_of_the_text_that_was_written(configurations):
    configurations.write('a.ini', b'[uwsgi]\n')
    configurations.options('a.ini')
    assert configurations.lint('a.ini', b'[uwsgi]\nmaster = true\n') == []
    assert configurations.options('a.ini') == {'logto': configurations.files.available_dir}
    configurations.write('a.ini', b'[uwsgi]\nmaster = true\n')
    assert configurations.options('a.ini') != {'logto': configurations.files.available_dir}
    assert configurations.calls() == 2
    configurations.write('a.ini', b'[uwsgi]\nworkers = 1\n')
    assert configurations.options('a.ini') == {'logto': configurations.files.available_dir}
    assert configurations.calls() == 3


def test_of_many_texts_the_wrong_one_is_told(configurations):
    texts = [('%d.ini' % number, b'[uwsgi]\nwrong = 1\n' if number == 3 else b'[uwsgi]\n') for number in range(5)]
    configurations.read(texts)
    said = [configurations.lint(*one) for one in texts]
    assert said.pop(3) == ['wrong is no option of this uWSGI and its plugins']
    assert said == [[]] * 4


@pytest.fixture
def exposing(configurations, monkeypatch):
    """What configurations.exposed() says of a text, by options, where /srv and what is below are not for root alone."""
    found = ('/srv', 'it belongs to user 1000')
    monkeypatch.setattr(_alterable, 'open_above', lambda path: found if path.startswith('/srv/') else None)

    def exposed(text, **options):
        known = {'uid': 'alice'}
        known.update((key.replace('_', '-'), value) for key, value in options.items())
        monkeypatch.setattr(_configuration, 'ask', lambda commands, dummy: [(0, '', known) for one in commands])
        configurations._readings.clear()
        own, others = configurations.exposed('a.ini', ('[uwsgi]\n%s\n' % text).encode())
        assert all('/srv is not for root alone: it belongs to user 1000' in sentence for sentence in own + others)
        what = re.compile('(?:opens its|removes its|directory of its|runs its|when it reads its|configuration|by its) (.*?),? (?:and|for|with) |$')
        return [[what.search(sentence).group(1).split(', /')[0].split(' in /')[0] for sentence in part] for part in (own, others)]

    return exposed


@pytest.mark.parametrize(
    'line',
    [
        'daemonize = /srv/a.log', 'http = /srv/a.socket', 'logto = /srv/a.log', 'pidfile = /srv/a.pid', 'safe-pidfile = /srv/a.pid',
        'logger = file:/srv/a.log', 'req-logger = x file:/srv/a.log', 'logger = file:logfile=/srv/a.log,maxsize=9',
        'req-logger = x file:logfile=/var/a.log,backupname=/srv/a.log', 'log-backupname = /srv/a.log',
        'shared-socket = /srv/a.socket', 'undeferred-shared-socket = /srv/a.socket,2',
        'sharedarea = file=/srv/a,size=4096', 'cgroup = /srv/cg', 'chroot = /srv/other',
        'namespace = /srv/other', 'ns = /srv/other',
        'emperor = /srv/vassals', 'emperor-stats = /srv/a.socket', 'zerg-server = /srv/a.socket', 'pivot_root = /srv/other /srv/other/old',
        'file-write = /srv/a=text', 'httprouter = /srv/a.socket', 'http-subscription-server = /srv/a.socket', 'zergpool = /srv/a.socket:/srv/b.socket',
    ],
)
def test_what_root_would_open_in_a_directory_of_others_is_told(exposing, line):
    assert exposing(line) == [[line.split()[0]], []]
    # nobody else is there, or nobody but root
    assert exposing(line, uid='root') == exposing(line.replace('/srv', '/var')) == exposing('x = 1') == [[], []]


@pytest.mark.parametrize(
    'line',
    [
        'socket = /srv/a.socket', 'http-socket = /srv/a.socket,1',
        'logto2 = /srv/a.log', 'pidfile2 = /srv/a.pid', 'cache2 = name=x,store=/srv/a.cache',
    ],
)
def test_what_root_would_open_for_the_sake_of_chown_socket_is_told(exposing, line):
    assert exposing(line, chown_socket='alice:www-data') == [[line.split()[0]], []]
    assert exposing(line) == [[], []]


@pytest.mark.parametrize('line', ['pidfile2: /srv/p2', 'file-write: /srv/a=hello', 'envdir: /srv/env', 'master-as-root: true'])
def test_what_can_not_be_asked_of_uwsgi_is_judged_all_the_same(configurations, monkeypatch, line):
    monkeypatch.setattr(_alterable, 'open_above', lambda path: ('/srv', 'it belongs to user 1000') if path.startswith('/srv/') else None)
    text = 'uwsgi:\n  uid: alice\n  exec-asap: /bin/true\n  %s\n'
    own, others = configurations.exposed('a.yaml', (text % line).encode())
    assert others == [] and len(own) == 1 and line.partition(':')[0] in own[0]
    assert configurations.exposed('a.yaml', (text % line.replace('/srv', '/var').replace('true', 'false')).encode()) == ([], [])


def test_each_of_an_options_values_is_looked_at(exposing):
    lines = 'socket = /run/uwsgi/a.socket\nsocket = 127.0.0.1:3031\nsocket = /srv/a.socket\nsocket = /srv/b.socket'
    assert exposing(lines, chown_socket='alice', socket='/run/uwsgi/a.socket')[0] == ['socket', 'socket']


def test_what_is_not_in_the_vassals_own_file_is_told_apart(exposing):
    assert exposing('x = 1', logto='/srv/a.log') == [[], ['logto']]


def test_what_a_placeholder_stands_for_is_looked_at_or_said_not_to_be(exposing, configurations):
    assert exposing('logto = %(place)/a.log', logto='/srv/a.log') == [['logto'], []]
    assert exposing('logto = %(place)/a.log', logto='/var/a.log') == [[], []]
    # of two, uWSGI tells one
    two = 'socket = %(place)/a.socket\nsocket = $(HOME)/b.socket'
    assert exposing(two, socket='/run/uwsgi/a.socket') == [[], []]
    assert exposing(two.replace('/', ':'), socket='/run/uwsgi/a.socket', chown_socket='alice') == [[], []]
    with pytest.raises(AssertionError):
        exposing(two, socket='/run/uwsgi/a.socket', chown_socket='alice')
    own, others = configurations.exposed('a.ini', ('[uwsgi]\n%s\n' % two).encode())
    assert others == [] and len(own) == 2 and all('it can not be told where' in sentence for sentence in own)


@pytest.mark.parametrize('line, option', [('socket = a.socket', 'chdir'), ('cache2 = name=x,store=a', 'chdir'), ('logto = a.log', 'force-cwd')])
def test_a_relative_path_is_where_it_is_opened(exposing, line, option):
    assert exposing(line, chown_socket='alice') == [[], []]
    assert exposing(line, chown_socket='alice', **{option: '/srv/app'}) == [[line.split()[0]], []]
    assert exposing('socket = :8080\nsocket = 127.0.0.1:80\nsocket = @a', chown_socket='alice', chdir='/srv/app') == [[], []]


@pytest.mark.parametrize(
    'line',
    [
        'envdir = /srv/env', 'early-envdir = /srv/env', 'https = 0.0.0.0:443,/var/cert,/srv/key', 'https2 = addr=:443,cert=/var/cert,key=/srv/key',
        'https-socket = :443,/srv/cert,/var/key', 'sni = x /var/cert,/srv/key', 'sni-dir = /srv/sni', 'mime-file = /srv/types',
        'flock = /srv/locked', 'flock-wait = /srv/locked', 'flock2 = /srv/locked', 'flock-wait2 = /srv/locked', 'setns = /srv/namespaces',
        'load-file-in-cache = /srv/a.css', 'load-file-in-cache-gzip = cache /srv/a.css',
    ],
)  # fmt: skip
def test_what_root_would_read_for_an_application_is_told(exposing, line):
    assert exposing(line) == [[line.split()[0]], []]
    assert exposing(line, uid='root') == exposing(line.replace('/srv', '/var')) == [[], []]


@pytest.mark.parametrize('option', ['stats', 'stats-server', 'pidfile2', 'safe-pidfile2', 'socket', 'http-socket'])
def test_what_root_would_remove_is_told_where_others_replace_its_directory(exposing, option):
    line = 'vacuum = true\n%s = ' % option
    assert exposing(line + '/srv/run/a.x') == exposing(line + '%(place)/a.x', **{option: '/srv/run/a.x'}) == [[], [option]]
    assert exposing(line + 'run/a.x', chdir='/srv/app') == [[], [option]]
    # there it is theirs
    assert exposing(line + '/srv/a.x') == exposing(line + 'a.x', chdir='/srv') == [[], []]
    assert exposing(line + '/srv/run/a.x', uid='root') == exposing(line.replace('true', 'false') + '/srv/run/a.x') == [[], []]


def test_the_names_of_files_are_read_where_others_make_them(exposing, tmp_path):
    lines = 'for-glob = %s\npythonpath = %%(_)\nendfor ='
    assert exposing(lines % '/srv/x/*', uid='root') == [['from /srv/x'], []]
    assert exposing(lines % '/var/nowhere/*') == [[], []]
    for name in 'one', 'two':
        (tmp_path / name).mkdir()
    assert _alterable.ways('%s/[ot]*/x/?' % tmp_path)[1:] == [str(tmp_path)]
    (tmp_path / 'one' / 'x').mkdir()
    assert sorted(_alterable.ways('%s/[ot]*/x/?' % tmp_path)[1:]) == [str(tmp_path), '%s/one/x' % tmp_path]
    assert sorted(_alterable.ways('%s/[ot]*/*' % tmp_path)[1:]) == [str(tmp_path), '%s/one' % tmp_path, '%s/two' % tmp_path]
    assert _alterable.ways('/*') == ['/*', '/'] and _alterable.ways('/a/b') == ['/a/b']


@pytest.mark.parametrize('line', ['envdir = %(place)/env', 'mime-file = $(HOME)/types', 'https = :443,%(place)/cert,/var/key', 'envdir = @(/etc/where)'])
def test_what_can_not_be_told_of_what_root_would_read_is_told(exposing, configurations, line):
    exposing('x = 1')
    own, others = configurations.exposed('a.ini', ('[uwsgi]\n%s\n' % line).encode())
    assert others == [] and len(own) == 1 and 'it can not be told where %s is' % line.partition(' = ')[2] in own[0]
    option = line.partition(' = ')[0]
    assert exposing(line, **{option: '/srv/x'}) == [[option], []] and exposing(line, **{option: '/var/x'}) == [[], []]


@pytest.mark.parametrize(
    'declared, used, told',
    [
        ('x=exec-as-root=$1', 'x = /srv/a.sh', '/srv is not for root alone'), ('x=logto=/srv/a.log', 'x =', 'opens its logto, /srv/a.log'),
        ('x=workers=2;hook-as-root=exec:$2 $1', 'x = a /srv/a.sh', '/srv is not for root alone'), ('x=envdir=$1', 'x = /srv/env', 'reads its envdir, /srv/env'),
        ('x=master-as-root=$1', 'x = true', 'by its master-as-root'), ('x=$1-$2=$3', 'x = exec as-root /srv/a.sh', '/srv is not for root alone'),
        ('x=exec-as-root=$2', 'x = a', 'it can not be told what $2 is'), ('x=y=$1;a=b', 'declare-option = y=exec-as-root=$1\nx = /srv/a.sh', '/srv is not for'),
        ('x=exec-as-root=$1', 'set = x=/srv/a.sh', '/srv is not for root alone'),
    ],
)  # fmt: skip
def test_options_of_ones_own_are_judged_by_what_they_stand_for(exposing, configurations, declared, used, told):
    exposing('x = 1')
    for text in '[uwsgi]\ndeclare-option = %s\n%s\n' % (declared, used), '[uwsgi]\n%s\ndeclare-option = %s\n' % (used, declared):
        own, others = configurations.exposed('a.ini', text.encode())
        assert others == [] and len(own) == 1 and told in own[0], own
    # nobody uses it
    assert configurations.exposed('a.ini', ('[uwsgi]\ndeclare-option = %s\n' % declared).encode()) == ([], [])
    assert configurations.exposed('a.ini', b'[uwsgi]\ndeclare-option = x=workers=$1;env=A=$1;x=$1\nx = 2\n') == ([], [])


@pytest.mark.parametrize(
    'line',
    ['exec-as-root: /srv/a.sh', '"exec\\x2das-root": /srv/a.sh', '? exec-as-root\n  : /srv/a.sh', 'plugin: /srv/a.so', 'envdir: /srv/env'],
)
def test_what_root_does_by_a_text_that_can_not_be_looked_at_is_told(exposing, configurations, monkeypatch, line):
    exposing('x = 1')
    odd = '  env: "A=c:\\\\x"\n  chdir: /srv/a\n'
    own, others = configurations.exposed('a.yaml', ('uwsgi:\n%s  %s\n' % (odd, line)).encode())
    assert others == [] and len(own) == 1 and 'it can not be told wh' in own[0], own
    monkeypatch.setattr(_configuration, 'ask', lambda commands, dummy: [(0, '', dict(uid='alice', socket='/run/a.socket', **{'chown-socket': 'alice'}))])
    for line in 'socket: /run/a.socket', '# exec-as-root: /srv/a.sh', 'module: envdir', 'x: >\n    how we\n    exec-as-root it':
        text = 'uwsgi:\n%s  plugin: "python3"\n  %s\n' % (odd, line)
        assert configurations.exposed('a.yaml', text.encode()) == ([], []), text


@pytest.mark.parametrize('line', ['load-file-in-cache = a.css', 'load-file-in-cache-gzip = cache static/a.css'])
def test_what_root_would_read_in_the_directory_of_an_application_is_told(exposing, line):
    assert exposing(line, chdir='/srv/app') == [[line.split()[0]], []]
    assert exposing(line, chdir='/var/app') == exposing(line) == [[], []]


@pytest.mark.parametrize('option', ['master-as-root', 'drop-after-apps', 'drop-after-init'])
def test_what_keeps_uwsgi_root_while_it_loads_the_application_is_told(configurations, monkeypatch, option):
    def exposed(value, uid):
        monkeypatch.setattr(_configuration, 'ask', lambda commands, dummy: [(0, '', {'uid': uid}) for one in commands])
        configurations._readings.clear()
        return configurations.exposed('a.ini', ('[uwsgi]\n%s = %s\n' % (option, value)).encode())

    own, others = exposed('true', 'alice')
    assert others == [] and len(own) == 1 and 'by its %s. Leave that out' % option in own[0]
    assert exposed('false', 'alice') == exposed('true', 'root') == ([], [])


@pytest.mark.parametrize('uid', ['root', 'alice'])
@pytest.mark.parametrize('line', ['include = /srv/a.ini', 'ini = /srv/a.ini', 'inherit = /srv/a.ini', 'for-readline = /srv/a.txt', 'module = @(/srv/a.txt)'])
def test_what_root_reads_where_others_write_is_told(exposing, line, uid):
    assert exposing(line, uid=uid) == [['from ' + line.strip(')').partition('/srv/')[1] + line.strip(')').partition('/srv/')[2]], []]
    assert exposing(line.replace('/srv', '/var/nowhere'), uid=uid) == [[], []]


@pytest.mark.parametrize('uid', ['root', 'alice'])
@pytest.mark.parametrize(
    'line',
    [
        'exec-as-root = /srv/a.sh', 'exec-pre-jail = sh /srv/a.sh', 'hook-as-root = exec:/srv/a.sh x', 'exec-asap = /srv/a.sh',
        'hook-asap = chown:/srv/a alice', "exec-as-root = sh -c '/srv/a.sh'", 'exec-as-root = /bin/true&&/srv/a.sh', 'hook-as-root = safeexec:/srv/a.sh',
        'exec-as-root = perl -I/srv/lib -MEvil -e 1', 'exec-as-root = make -C/srv/app',
        'dlopen = /srv/a.so', 'privileged-binary-patch = /srv/a.sh', 'exec-as-root = cd /srv/x && ./a.sh', 'plugin = /srv/a.so',
        'plugins = python3,/srv/a.so', 'plugin-dir = /srv/plugins', 'mount-as-root = bind /srv/x /mnt',
        'exec-as-user-atexit = /srv/a.sh', 'hook-as-user-atexit = exec:/srv/a.sh', 'fallback-config = /srv/a.ini',
        'logger = pipe:/srv/a.sh', 'req-logger = x pipe:/srv/a.sh',
        'binsh = /srv/sh', 'config = /srv/a.lua', 'sqlite = /srv/a.db', 'sqlite3 = /srv/a.db', 'inject-before = /srv/a', 'inject-after = /srv/a',
    ],
)
def test_what_root_runs_where_others_write_is_told(exposing, line, uid):
    assert exposing(line, uid=uid) == [[line.split()[0]], []]
    assert exposing(line.replace('/srv', '/var'), uid=uid) == exposing(line.replace('as-root', 'as-user').replace('/srv', '/var')) == [[], []]


@pytest.mark.parametrize(
    'line',
    [
        'exec-as-root = ./a.sh', 'exec-as-root = bin/a.sh x', 'hook-as-root = exec:../a.sh', 'exec-as-user-atexit = ./a.sh',
        'exec-as-root = /usr/bin/python3 -m manage x', 'exec-as-root = make', 'exec-as-root = sh 1', 'exec-as-root = /usr/bin/true',
        'hook-as-root = safeexec:a', 'logger = pipe:tee log', 'exec-as-root = PATH=. deploy',
        # not for a shell
        'fallback-config = a.ini', 'privileged-binary-patch = a.sh', 'hook-as-root = chown:run games games', 'hook-as-root = write:log/x y',
        'hook-as-root = rename:/var/x run', 'binsh = bin/sh',
    ],
)  # fmt: skip
def test_what_root_runs_is_looked_at_where_it_is_run(exposing, line):
    assert exposing(line, chdir='/srv/app') == [[line.split()[0]], []]
    assert exposing(line, chdir='/var/app') == exposing(line) == [[], []]
    option, dummy, command = line.partition(' = ')
    kind = command[: -len(command.split(':', 1)[-1])] if ':' in command else ''
    if option.startswith(('exec-', 'logger')) or 'exec:' in kind:
        moved = '%s = %s cd %s && %s' % (option, kind, '%s', command[len(kind) :])
        assert exposing(moved % '/var/app', chdir='/srv/app') == [[], []]
        assert exposing(moved % '/srv/x') == [[option], []]


@pytest.mark.parametrize('command', ['sh games/deploy', 'sh -c "cat games/x"', 'frob --config=games/x', 'perl -Igames/lib x', 'cd / && sh srv/x', 'a <games/x'])
def test_each_word_of_what_root_runs_may_be_a_file(configurations, monkeypatch, command):
    """Also where nobody else writes to the directory itself."""
    monkeypatch.setattr(_alterable, 'open_above', lambda path: ('/x', 'of games') if path.startswith(('/var/games/', '/srv/')) else None)
    monkeypatch.setattr(_configuration, 'ask', lambda commands, dummy: [(0, '', {'chdir': '/var', 'uid': 'alice'}) for one in commands])
    own, others = configurations.exposed('a.ini', ('[uwsgi]\nexec-as-root = %s\n' % command).encode())
    assert others == [] and len(own) == 1 and '/x is not for root alone: of games' in own[0]


@pytest.mark.parametrize(
    'command',
    [
        'cd / && cd - && sh deploy', 'cd /; sh deploy', 'sh /$APP/x', 'sh `cat /x`', 'cd /var && pushd x && sh a', 'cat ~alice/x', 'PATH=.:$PATH x',
        'chown $(WHO) /run/x', 'sh /srv/game*/x', 'sh /srv/game[s]/x', 'sh /srv/game?/x', 'sh [a-z]x',
    ],
)  # fmt: skip
def test_what_can_not_be_told_of_a_command_is_not_run_by_root(configurations, monkeypatch, command):
    monkeypatch.setattr(_configuration, 'ask', lambda commands, dummy: [(0, '', {'uid': 'alice'}) for one in commands])
    for option in 'exec-as-root = ', 'hook-as-root = exec:':
        configurations._readings.clear()
        own, others = configurations.exposed('a.ini', ('[uwsgi]\n%s%s\n' % (option, command)).encode())
        assert others == [] and len(own) == 1 and 'it can not be told what' in own[0]


@pytest.mark.parametrize('env, led', [('PATH=games/bin:/usr/bin', True), ('PATH=/bin:/srv/bin', True), ('RUBYOPT=-I/srv/x', True), ('SETTINGS=a.b', False)])
def test_what_a_variable_leads_to_where_a_command_is_run_is_told(exposing, configurations, monkeypatch, env, led):
    lines = 'exec-as-root = /usr/bin/frob'
    monkeypatch.setattr(_alterable, 'open_above', lambda path: ('/srv', 'it belongs to user 1000') if path.startswith(('/srv/', '/var/games/')) else None)
    told = [['exec-as-root'], []] if led else [[], []]
    assert exposing('env = %s\n%s' % (env, lines), chdir='/var') == told
    assert exposing('hook-as-root = putenv:%s\n%s' % (env, lines), chdir='/var') == told
    assert exposing('env = %s\n%s' % (env, lines.replace('/usr', 'env -i /usr')), chdir='/var') == [[], []]
    # what the module is about to write
    text = b'[uwsgi]\n' + lines.encode()
    assert bool(configurations.exposed('b.ini', text, [env])[0]) is led and not configurations.exposed('b.ini', text)[0]


def test_a_hook_leads_root_nowhere_else(configurations, monkeypatch):
    monkeypatch.setattr(_configuration, 'ask', lambda commands, dummy: [(0, '', {'uid': 'alice'}) for one in commands])
    own = configurations.exposed('a.ini', b'[uwsgi]\nhook-as-root = cd:/srv/games\n')[0]
    assert len(own) == 1 and 'it can not be told what cd:/srv/games is' in own[0]


@pytest.mark.parametrize(
    'lines, found',
    [
        ('mount = /b=c.py', ['', '/a', '/b']), ('mount = %(x)=c.py', ['', '/a']), ('plugin = python3\nmount = /b=c.py', ['', '/a', '/b']),
        ('plugins = rack,python3', ['', '/a']), ('plugin = psgi\nmount = /b=c.psgi', ['']),
        ('for = /c /d\nmount = %(_)=x.py\nendfor =', ['', '/a', '/c', '/d']),
    ],
)  # fmt: skip
def test_the_mountpoints_of_pythons_applications_are_known(configurations, monkeypatch, lines, found):
    monkeypatch.setattr(_configuration, 'ask', lambda commands, dummy: [(0, '', {'module': 'x', 'mount': '/a=b.py'}) for one in commands])
    configurations.write('a.ini', ('[uwsgi]\n%s\n' % lines).encode())
    assert sorted(configurations.mountpoints('a.ini')) == found


def test_root_makes_no_directory_where_others_say(exposing, monkeypatch):
    assert exposing('spooler = /srv/a/spool') == [['spooler'], []]
    assert exposing('spooler = /var/a/spool') == [[], []]
    monkeypatch.setattr(_configuration.os.path, 'isdir', lambda path: True)
    assert exposing('spooler = /srv/a/spool') == [[], []]


@pytest.mark.parametrize('env', ['PATH=/srv/bin:/usr/bin', 'LD_PRELOAD=/srv/a.so', 'HOME=/srv/app'])
def test_what_root_runs_in_an_environment_that_others_fill_is_told(exposing, env):
    line = 'env = GREETING=Hi\nenv = %s\n' % env
    for command in 'exec-as-root = chown a b', 'hook-pre-jail = exec:true':
        assert exposing(line + command) == [[command.split()[0]], []]
        assert exposing(line.replace('/srv', '/var') + command) == [[], []]
    # which nobody runs as root, or without that
    for harmless in 'exec-as-user = true', 'hook-as-root = mkdir:/var/x', 'exec-as-root = env -i chown a b', 'hook-as-root = exec:/usr/bin/env -i /bin/x':
        assert exposing(line + harmless) == [[], []]


@pytest.mark.parametrize(
    'line',
    [
        'logger = pipe:%(base)/x', 'exec-as-root = %(base)/x', 'exec-as-root = /bin/sh %(script)', 'hook-as-root = exec:chown $(WHO) /run/x',
        'exec-as-root = $(HOME)', 'hook-as-root = exec:%(base)/bin/x', 'inherit = %(base)/more.ini',
        'include = $(HOME)/a.ini', 'exec-as-root = cat ~alice/x',
        'for-glob = /var/x/*\nexec-as-root = /bin/echo %(_)\nendfor =', 'for-readline = /var/x\nexec-asap = echo %(_)\nendfor =',
    ],
)
def test_what_placeholders_keep_from_being_looked_at_is_told(exposing, configurations, line):
    with pytest.raises(AssertionError):
        exposing(line)
    own, others = configurations.exposed('a.ini', ('[uwsgi]\n%s\n' % line).encode())
    assert others == [] and len(own) == 1 and 'it can not be told wh' in own[0] and 'Write its path' in own[0]
    assert exposing('hook-as-root = chown:/run/uwsgi/app/a %(vassal-user) root') == [[], []]


@pytest.mark.parametrize('uid', ['0', '1000', '99999999999999999999'])
def test_a_user_is_given_by_name_where_the_defaults_need_the_name(uid):
    assert 'is a number, %s' % uid in _configuration.unfit('a.ini', {'uid': uid, 'gid': '0', 'vassal-group': uid})[0]
    assert _configuration.unfit('a.ini', {'uid': uid, 'gid': '0'}) == []


def test_a_socket_where_only_root_makes_files_wants_a_chown_socket(monkeypatch):
    monkeypatch.setattr(_configuration.os.path, 'isdir', lambda path: True)
    monkeypatch.setattr(_configuration.os, 'lstat', lambda path: os.stat('/'))
    monkeypatch.setattr(_configuration, '_id', lambda value, find: 1000)
    options = {'uid': 'alice', 'socket': '/run/uwsgi/b.socket', 'vassal-group': 'alice'}
    assert 'set chown-socket = alice:www-data' in _configuration.unfit('a.ini', options)[0]
    assert _configuration.unfit('a.ini', dict(options, **{'chown-socket': 'alice'})) == []
    assert _configuration.unfit('a.ini', dict(options, socket='/srv/b.socket')) == []
    # before the role's defaults are there, as when a host is to be migrated, they may still give it one
    assert _configuration.unfit('a.ini', {'uid': 'alice', 'socket': '/run/uwsgi/a.socket'}) == []


def test_uwsgi_is_given_what_was_found_where_others_may_change_it(tmp_path):
    staging = _configuration.Staging(str(tmp_path))
    path = tmp_path / 'a.ini'
    path.write_text(u'[uwsgi]\n')
    for mode, wanted in (0o644, False), (0o646, True):
        path.chmod(mode)
        assert staging.alterable(to_text(str(path))) is wanted
    path.unlink()
    tmp_path.chmod(0o777)
    assert staging.alterable(to_text(str(path)))
