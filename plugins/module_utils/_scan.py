# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What uWSGI would do, beside reading, if it were asked with --get what a configuration says; and what of that it can be asked.

uWSGI executes some options while it reads them, some before --get prints, and some when it exits afterwards. scan() finds them in the
arguments and files that uWSGI would be given, and gives it others without them. What can't be judged is left out, too.

A long file, as it reads uWSGI's four formats and its conditions, and nobody needs a part of that by itself.

Text is kept as bytes decoded to Latin-1, so that each byte is one character and nothing is lost. Nothing in here touches the host.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import posixpath
import re

RUN = 'uWSGI would run it'
CALL = 'uWSGI would call it'
LOAD = 'uWSGI would load it into itself'
CONNECT = 'uWSGI would connect to it'
UNTOLD = 'it can not be told what uWSGI would read there'
CHANGES = 'others than root may change it before uWSGI reads it'

# What uWSGI 2.0.7, 2.0.28 and 2.0.31 do for an option before --get has printed and the process is gone, each seen on Debian 13 and (but
# for the spooler's directory, which 2.0.7 does not make) with 2.0.7. The second column says whether other lines may depend on it.
LEFT_OUT = {}
for _names, _needed, _why in (
    # core/uwsgi.c, uwsgi_setup(): the hooks that are run as soon as the options are known
    (('exec-asap', 'hook-asap'), False, RUN),
    (('call-asap',), False, CALL),
    (('mount-asap',), False, 'uWSGI would mount it'),
    (('umount-asap',), False, 'uWSGI would unmount it'),
    # core/uwsgi.c, uwsgi_exec_atexit(): --get exits, and the process is its own master
    (('exec-as-user-atexit', 'hook-as-user-atexit'), False, RUN),
    (('call-as-user-atexit',), False, CALL),
    # core/config.c, uwsgi_fallback_config(): uWSGI replaces itself by one that is not asked but serves, when it exits with 1
    (('fallback-config',), False, 'uWSGI would start it after an error'),
    # core/uwsgi.c: options that act when they are set
    (('stop', 'reload', 'pause', 'suspend', 'resume'), False, 'uWSGI would signal the process'),
    (('signal', 'connect-and-read'), False, CONNECT),
    (('extract', 'binary-append-data'), False, 'uWSGI would read it, and run what its address says'),
    (('build-plugin',), False, 'uWSGI would compile it'),
    (('flock', 'flock-wait'), False, 'uWSGI would wait for its lock, or end'),
    (('dlopen',), True, LOAD),
    # core/config.c, core/legion.c: a name is looked up
    (('resolve',), True, 'uWSGI would ask for the name'),
    (('legion-node', 'legion-mcast'), False, 'uWSGI would ask for the name'),
    # core/io.c, uwsgi_open_and_read(): each later file begins or ends with what is read here
    (('inject-before', 'inject-after'), True, UNTOLD),
    # core/uwsgi.c, uwsgi_opt_load_config(): read by a plugin, of which Lua's runs it
    (('config',), True, UNTOLD),
    # core/utils.c, uwsgi_envdir(): its variables become parts of other options
    (('early-envdir',), True, UNTOLD),
    # plugins/corerouter/corerouter.c, plugins/ldap/ldap.c, plugins/sqlite3/plugin.c
    (('http-zerg', 'fastrouter-zerg', 'rawrouter-zerg', 'sslrouter-zerg', 'forkptyrouter-zerg'), False, CONNECT),
    (('ldap',), True, CONNECT),
    (('sqlite', 'sqlite3'), True, UNTOLD),
):  # fmt: skip
    LEFT_OUT.update((_name, (_needed, _why)) for _name in _names)

# Options that read a configuration, and its format; None: the ending tells (core/uwsgi.c, plugins/python/python_plugin.c).
LOADS = {
    'ini': '.ini', 'ini-paste': '.ini', 'ini-paste-logged': '.ini', 'pypy-ini-paste': '.ini',
    'xml': '.xml', 'xmlconfig': '.xml', 'yaml': '.yaml', 'yml': '.yaml', 'json': '.json', 'js': '.json',
    'include': None, 'inherit': None,
}  # fmt: skip
FORMATS = {'.ini': '.ini', '.xml': '.xml', '.yaml': '.yaml', '.yml': '.yaml', '.json': '.json', '.js': '.json'}
# Those are read after all that were given (core/uwsgi.c, uwsgi_configure()).
LATE = ('inherit',)
PLUGINS = ('plugin', 'plugins', 'need-plugin', 'need-plugins')
PLUGIN_DIRS = ('plugin-dir', 'plugins-dir')
# Where packages put plugins. Another file is loaded because the configuration says so, and its constructors run.
PLUGIN_DIR = '/usr/lib/uwsgi'
# The sockets that are bound at once when their port is 0 (core/socket.c, uwsgi_new_socket()).
SOCKETS = (
    'socket', 'uwsgi-socket', 'http-socket', 'http11-socket', 'fastcgi-socket', 'fastcgi-nph-socket', 'scgi-socket', 'scgi-nph-socket',
    'puwsgi-socket', 'raw-socket', 'suwsgi-socket', 'ssl-socket', 'https-socket', 'zeromq', 'zmq', 'zeromq-socket', 'zmq-socket', 'mongrel2',
)  # fmt: skip
# What uWSGI opens, makes or writes by its path while it is root (core/uwsgi.c, uwsgi_setup()).
# Of these it makes files in a directory, or starts by what lies there: an Emperor of a vassal's own is root.
DIRECTORIES = ('cgroup', 'chroot', 'emperor', 'namespace', 'ns', 'pivot-root', 'pivot_root')
AS_ROOT = DIRECTORIES + (
    'daemonize', 'emperor-pidfile', 'emperor-stats', 'emperor-stats-server', 'fastrouter', 'fastrouter-subscription-server', 'file-write', 'fork-server',
    'forkpty-router', 'forkptyrouter', 'http', 'http-subscription-server', 'httprouter', 'log-backupname', 'logger', 'logger-req', 'logto', 'pidfile',
    'rawrouter', 'rawrouter-subscription-server', 'req-logger', 'safe-pidfile', 'shared-socket', 'sharedarea', 'sslrouter-subscription-server',
    'undeferred-shared-socket', 'zerg-pool', 'zerg-server', 'zergpool',
)  # fmt: skip
# And that, too, where chown-socket keeps it root until its sockets are bound (uwsgi_start()).
BEFORE_BIND = SOCKETS + ('cache-store', 'cache2', 'logto2', 'pidfile2', 'queue-store')
OPENS = frozenset(AS_ROOT + BEFORE_BIND)
# What uWSGI runs when it exits, as root where it exits before it has dropped root: whoever owns its `chdir` can make it do so (core/uwsgi.c,
# uwsgi_exec_atexit(); core/config.c, uwsgi_fallback_config()).
AT_EXIT = ('exec-as-user-atexit', 'fallback-config', 'hook-as-user-atexit')
# Their pipe: is a program, which uWSGI may run when it exits, too (core/uwsgi.c, uwsgi_flush_logs()).
LOGGERS = ('logger', 'logger-req', 'req-logger')
# What uWSGI takes options from, beside LOADS (core/uwsgi.c, uwsgi_opt_load_config(); core/io.c, uwsgi_open_and_read(); plugins/sqlite3/plugin.c).
CONFIGURES = ('config', 'inject-after', 'inject-before', 'sqlite', 'sqlite3')
# What uWSGI runs or loads while it is root (core/uwsgi.c, uwsgi_start(); core/hooks.c).
RUNS_AS_ROOT = frozenset(
    [_kind + _when for _kind in ('exec-', 'hook-', 'mount-', 'umount-') for _when in ('as-root', 'asap', 'pre-jail', 'post-jail', 'in-jail')]
    + list(AT_EXIT + CONFIGURES)
    + ['binsh', 'dlopen', 'privileged-binary-patch', 'privileged-binary-patch-arg']
    + list(PLUGINS + PLUGIN_DIRS)
)
# What uWSGI reads while it is root, and the application has in its environment or memory then (core/utils.c, uwsgi_envdir(); core/ssl.c;
# core/cache.c), opens as it is, a device too (core/uwsgi.c, uwsgi_opt_flock()), or takes its namespaces from (core/utils.c, uwsgi_setns()).
READS_AS_ROOT = frozenset([
    'early-envdir', 'envdir', 'flock', 'flock-wait', 'flock-wait2', 'flock2', 'http2', 'https', 'https-socket', 'https-socket-modifier1',
    'https-socket-modifier2', 'https2', 'load-file-in-cache', 'load-file-in-cache-gzip', 'mime-file', 'mimefile', 'setns', 'sni', 'sni-dir', 'ssl-socket',
    'sslrouter', 'sslrouter2', 'suwsgi-socket',
])  # fmt: skip
# Of these, what it reads when it has entered its `chdir` (core/cache.c, uwsgi_cache_load_files()).
READS_IN_CHDIR = ('load-file-in-cache', 'load-file-in-cache-gzip')
# What it removes when it exits with `vacuum`, which may be as root (core/uwsgi.c, vacuum()).
REMOVES = frozenset(SOCKETS + ('pidfile', 'pidfile2', 'safe-pidfile', 'safe-pidfile2', 'stats', 'stats-server'))
# What keeps uWSGI root while it starts an interpreter, which runs what it finds in a virtual environment, or loads the application
# (core/uwsgi.c, uwsgi_start()).
KEEPS_ROOT = frozenset(['drop-after-apps', 'drop-after-init', 'master-as-root'])
PLACEHOLDER = re.compile(u'[%%$@]\\(|\x7f')
SPOOLERS = ('spooler', 'spooler-external')
# All options whose values are judged.
JUDGED = OPENS | REMOVES | RUNS_AS_ROOT | READS_AS_ROOT | KEEPS_ROOT | frozenset(SPOOLERS + ('env', 'mount', 'uid', 'vacuum'))
SETS = ('set', 'set-placeholder', 'set-ph')
DECLARES = ('declare-option', 'declare-option2')
SPECIAL = frozenset(LEFT_OUT) | frozenset(LOADS) | frozenset(PLUGINS + PLUGIN_DIRS + SPOOLERS + SETS + DECLARES)
# Of Emperors' command lines: an option may be given by the beginning of its name, but those are whole names of harmless ones.
WHOLE = ('http', 'fastrouter', 'rawrouter', 'sslrouter', 'forkptyrouter', 'legion', 'mount')

# What stands for a text that only uWSGI knows.
UNKNOWN = u'\x7f'
_BLANK = u' \t\r'
_SCHEME = re.compile(u'[A-Za-z0-9.+-]*%s?[A-Za-z0-9.+-]*://' % UNKNOWN)
DEPTH = 16
FILES = 100


class Unclear(Exception):
    """Something can't be given to uWSGI, neither as it is nor without some of its lines."""


class Finding(object):
    """One thing that uWSGI would do."""

    def __init__(self, path, line, option, why):
        self.path = path
        self.line = line  # None where it is not known
        self.option = option
        self.why = why

    def tell(self, given):
        """A sentence without a full stop. given: whether uWSGI was asked about the rest."""
        place = ', '.join((['line %d' % self.line] if self.line else []) + ([self.option] if self.option else []))
        path = '%s: ' % self.path if self.path else ''
        if given:
            return '%s%s, was left out when its configuration was checked, as %s' % (path, place or 'it', self.why)
        return '%suWSGI was not asked what its configuration says because of %s: %s' % (path, place or 'the whole of it', self.why)


class Scan(object):
    """What can be asked of uWSGI instead of what should be."""

    def __init__(self, arguments, scanner, exact, shown=None):
        self.arguments = arguments  # None: nothing
        self.findings = scanner.findings
        self.exact = exact  # whether uWSGI's complaints about it are right
        # what is to be judged beside what --get prints of files, as of OPENS and RUNS_AS_ROOT: (option, value, whether in the vassal's own file)
        self.opened = [(key, value, path == shown) for path, key, value in scanner.opened + scanner.meant()]
        # the files that uWSGI reads: (path, whether the vassal's own file names it)
        self.reads = [(path, place == shown) for place, path in scanner.reads]

    def tell(self):
        """One sentence for each thing that was not looked at, without a full stop."""
        result = []
        for finding in self.findings:
            said = finding.tell(self.arguments is not None)
            if said not in result:
                result.append(said)
        return result


def scan(arguments, host, text=None, shown=None):
    """The Scan of the arguments that uWSGI would be given.

    host: reads and writes for it, see Access.
    shown: what a vassal's own file is called in sentences; the first two arguments are an option and that file.
    text: what is in the vassal's own file, where it is not written yet.
    """
    scanner = _Scanner(host)
    result, rest = [], list(arguments)
    if shown is not None:
        option, address = rest[:2]
        try:
            result = [option, scanner.load(LOADS[option[2:]], address, address, u'uwsgi', Place(None, None), text, shown)]
        except Unclear:
            return Scan(None, scanner, False, shown)
        rest = rest[2:]
    result += scanner.words(rest)
    return Scan(result, scanner, scanner.exact, shown)


class Access(object):
    """What scan() needs of the host; all texts are Latin-1."""

    environment = {}
    hostname = UNKNOWN
    # The directory in which uWSGI would run.
    directory = u'/'

    def read(self, path):
        """The text of a file, None where there is none; raises Unclear for what is no file."""
        raise NotImplementedError

    def is_directory(self, path):
        raise NotImplementedError

    def alterable(self, path):
        """Whether others than root may change what is read there: uWSGI, which reads it a moment later, may find something else."""
        raise NotImplementedError

    def real(self, path):
        """The path that uWSGI has for a file: a link's own, otherwise the one without links."""
        raise NotImplementedError

    def stage(self, name, text):
        """Writes a text into a file of that name which nobody else can read; returns its path."""
        raise NotImplementedError


class Place(object):
    """Where in a configuration an option stands."""

    def __init__(self, shown, line, late=False, depth=0):
        self.shown = shown  # the file, None for the arguments
        self.line = line
        self.late = late  # whether uWSGI reads it after all arguments
        self.depth = depth
        self.by_line = False  # whether a line of it can be left out in silence
        self.loop = None  # what %(_) stands for, None outside of for and if


class _Scanner(object):
    def __init__(self, host):
        self.host = host
        self.findings = []
        self.exact = True
        self.opened = []  # (file, option, value)
        self.others = []  # of those that nobody judges, which may be options of one's own
        self.declared = {}  # what these stand for
        self.reads = []  # (file that names it, path)
        self.upper = {}  # the magic variables of the first file
        self.texts = {}  # what is not written yet, by path
        self.last_ini = None
        self.files = 0

    def found(self, place, option, needed, why):
        self.findings.append(Finding(place.shown, place.line, option, why))
        self.exact = self.exact and not needed

    def words(self, arguments):
        """The arguments that can be given to uWSGI in place of others."""
        result, rest = [], list(arguments)
        place = Place(None, None)
        while rest:
            word = rest.pop(0)
            short = {u'-x': u'xml', u'-y': u'yaml', u'-j': u'json', u'-S': u'set'}.get(word)
            if not short and not word.startswith(u'--'):
                if re.match(u'-.*[xyjS]', word):
                    # short options in one word, of which some read files
                    self.found(place, word, True, UNTOLD)
                    continue
                value_of_emperor = re.match(u'--(emperor|vassal)', result[-1] if result else u'')
                kept = self._word(word, place) if word.startswith(u'-') or value_of_emperor else self._file_or_value(word, place)
                if not kept and result and result[-1].startswith(u'--') and u'=' not in result[-1]:
                    # it may have been the value of that
                    result.pop()
                result += kept
                continue
            key, equal, value = (short, u'', u'') if short else word[2:].partition(u'=')
            if key == u'vacuum':
                continue
            if key and key not in SPECIAL and key not in WHOLE:
                # getopt takes the beginning of a name for it
                key = next((name for name in sorted(SPECIAL) if name.startswith(key)), key)
            if key not in SPECIAL:
                result += self._word(word, place)
                continue
            if not equal and rest:
                value = rest.pop(0)
            kept = self.judge(key, value, place)
            if kept is not None:
                result += [u'--' + key, kept]
        return result

    def _word(self, word, place):
        why = self._harm_by_at(word, place)
        if why is None:
            return [word]
        self.found(place, word, True, why)
        return []

    def _file_or_value(self, word, place):
        """A word that may be a file of its own, or belong to the option before it."""
        kind = FORMATS.get(posixpath.splitext(word)[1])
        if _SCHEME.match(word) or word.endswith(u'.lua'):
            self.found(place, word, True, UNTOLD)
            return []
        if kind is None:
            return self._word(word, place)
        if not self.upper:
            self.upper = dict((key, UNKNOWN) for key in u'ODSPCENXIJ')
        try:
            return [self.load(kind, word, word, u'uwsgi', Place(None, None, late=True))]
        except Unclear:
            self.exact = False
            return []

    def load(self, kind, address, path, section, place, text=None, shown=None):
        """The address of what can be given to uWSGI in a file's place; raises Unclear.

        text: what is in it, where it is not written yet: then it is written to where uWSGI can be given it. So is what others may change meanwhile.
        """
        full = posixpath.join(self.host.directory, path)
        here = Place(shown or full, None, place.late, place.depth + 1)
        here.by_line = kind == '.ini'
        self.files += 1
        if here.depth > DEPTH or self.files > FILES:
            self.found(here, None, True, 'there are too many files in each other')
            raise Unclear()
        staged = text is not None or self.host.alterable(full)
        if text is not None:
            self.texts[full] = text
        else:
            self.reads.append((place.shown, full))
        try:
            text = self.texts[full] if full in self.texts else self.host.read(full)
        except Unclear as unclear:
            self.found(here, None, True, str(unclear))
            raise
        if text is None and staged:
            self.found(here, None, True, CHANGES)
            raise Unclear()
        if text is None:
            # uWSGI says so itself
            return address
        values = self._values(path, section)
        if not self.upper:
            self.upper = dict((key.upper(), values[key]) for key in u'odspcenxij')
        values.update(self.upper)
        copy = None
        if kind == '.ini':
            self.last_ini = path
            copy = self._ini(text, values, section, here)
        else:
            self._other(kind, text, values, here)
        if copy is None and not staged:
            return address
        if copy is None:
            copy = u''.join(kept for dummy, dummy, kept in logical_lines(text, values))
        return self.host.stage(posixpath.basename(path), copy) + (u':' + section if u':' in address else u'')

    def _values(self, path, section):
        """The magic variables of a file (core/uwsgi.c, config_magic_table_fill())."""
        full = self.host.real(posixpath.join(self.host.directory, path))
        directory, slash, name = full.rpartition(u'/')
        stem, dot, ending = name.rpartition(u'.')
        values = dict(
            o=path, p=full, s=name, d=directory + slash, c=directory.rpartition(u'/')[2], e=ending if dot else u'', n=stem if dot else name,
            x=section if section != u'uwsgi' else u'', i=UNKNOWN, j=UNKNOWN, b=UNKNOWN, t=UNKNOWN, T=UNKNOWN, V=UNKNOWN, k=UNKNOWN,
            v=self.host.directory, h=self.host.hostname, u=u'0', U=u'root', g=u'0', G=u'root',
        )  # fmt: skip
        values.update(zip(u'0123456789', [part for part in directory.split(u'/') if part]))
        values.update({u'%': u'%', u'(': u'%(', u'[': u'\x1b'})
        return values

    def _ini(self, text, values, asked, here):
        """The text of an INI file without the lines that uWSGI would execute; None if there are none."""
        section = None
        result = []
        changed = False
        for number, line, kept in logical_lines(text, values):
            here.line = number
            line = line.partition(u'\0')[0].strip(_BLANK)
            result.append(kept)
            if not line or line[0] in u';#':
                continue
            if line[0] == u'[':
                section = line[1:-1]
                continue
            if section != asked:
                continue
            key, dummy, value = line.partition(u'=')
            key, value = key.strip(_BLANK), value.strip(_BLANK)
            new = self.judge(key, value, here)
            if new != value:
                changed = True
                end = u'\n' * kept.count(u'\n')
                result[-1] = end if new is None else u'%s = %s%s' % (key, new.replace(u'%', u'%%'), end)
        return u''.join(result) if changed else None

    def _other(self, kind, text, values, here):
        """Looks at a file of another format, of which no line can be taken out; raises Unclear."""
        before = len(self.findings)
        substituted = u''.join(line + u'\n' for dummy, line, dummy in logical_lines(text, values)).partition(u'\0')[0]
        try:
            pairs = {'.json': json_pairs, '.yaml': yaml_pairs, '.xml': xml_pairs}[kind](substituted)
        except ValueError as error:
            here.line, word = find_word(substituted, strict=str(error) != 'broken')
            # Of these nobody knows more than that they are there; what uWSGI opens or removes it tells itself, if it is asked.
            told = frozenset() if word else OPENS | REMOVES
            self.opened.extend((here.shown, key, UNKNOWN) for key in judged_words(substituted, kind) if key not in told)
            if word:
                self.found(here, word, True, UNTOLD)
                raise Unclear()
            return
        clear = True
        for key, value in pairs:
            at = substituted.find(key)
            here.line = None if at < 0 else substituted.count(u'\n', 0, at) + 1
            quiet = len(self.findings)
            if self.judge(key, value, here) != value:
                clear = False
                if len(self.findings) == quiet:
                    self.found(here, key, True, CHANGES if key in LOADS else 'uWSGI would make or remove a file')
        if not clear or len(self.findings) > before:
            raise Unclear()

    # options

    def judge(self, key, value, place):
        """The value that can be given to uWSGI for an option, None where the option is left out."""
        if UNKNOWN in key:
            self.found(place, None, True, 'it can not be told which option it is')
            return None
        if key in LEFT_OUT:
            if key in RUNS_AS_ROOT or key in READS_AS_ROOT:
                self.opened.append((place.shown, key, value))
            needed, why = LEFT_OUT[key]
            self.found(place, key, needed, why)
            return None
        values = [value]
        if u'%(_)' in value and place.loop is not None:
            values = [value.replace(u'%(_)', one) for one in place.loop]
        if key in (u'end', u'endfor', u'endif', u'end-if', u'end-for'):
            place.loop = None
        elif key == u'for' or re.match(u'(for-.*|if-.*|if(exists|env|plugin|dir))$', key):
            place.loop = loop_values(key, value)
        kept = [self._judge_one(key, one, place) for one in values]
        if kept == values:
            return value
        if None in kept or len(values) > 1:
            if None not in kept:
                self.found(place, key, True, UNTOLD)
            return None
        return kept[0]

    def _judge_one(self, key, value, place):
        (self.opened if key in JUDGED else self.others).append((place.shown, key, value))
        if key in LOADS:
            return self._load(key, value, place)
        why = self._harm_by_at(value, place)
        if why is not None:
            self.found(place, key, True, why)
            return None
        if key in SETS:
            inner, equal, rest = value.partition(u'=')
            kept = self.judge(inner.strip(_BLANK), rest.strip(_BLANK), place)
            if kept is None or kept == rest.strip(_BLANK):
                return None if kept is None else value
            return inner + equal + kept
        if key in DECLARES:
            name, dummy, template = value.partition(u'=')
            self.declared.setdefault(name, []).append(template)
            for part in template.split(u';'):
                inner = part.partition(u'=')[0].strip(_BLANK)
                if inner in SPECIAL or inner == 'vacuum' or re.search(u'[$%%@%s]' % UNKNOWN, inner):
                    self.found(place, key, True, RUN)
                    return None
        elif key in (u'for-readline', u'for-glob'):
            path = posixpath.join(self.host.directory, value)
            self.reads.append((place.shown, path))
            if self.host.alterable(path):
                # whatever a line or a name leads to is read, by root, and may never end
                self.found(place, key, True, CHANGES)
                return None
        elif key in PLUGINS:
            for one in value.split(u','):
                if not is_packaged_plugin(one):
                    self.found(place, key, True, LOAD)
                    return None
        elif key in PLUGIN_DIRS:
            if not (posixpath.normpath(value) + u'/').startswith(PLUGIN_DIR + '/'):
                self.found(place, key, True, 'uWSGI would load plugins from there into itself')
                return None
        elif key == u'env':
            if value.lstrip().startswith(u'OPENSSL_'):
                self.found(place, key, False, 'OpenSSL would load what it names')
                return None
        elif key in SOCKETS:
            colon, port = value.partition(u',')[0].rpartition(u':')[1:]
            if colon and (not port or port.startswith(u'0')):
                self.found(place, key, False, 'uWSGI would bind it')
                return None
        elif key in SPOOLERS:
            # core/spooler.c makes it; nothing is said, as nothing of it is looked at
            if re.search(u'[%%$@]\\(|%s' % UNKNOWN, value) or not self.host.is_directory(posixpath.join(self.host.directory, value)):
                return None
        elif key == u'vacuum' and (place.by_line or place.late):
            # when uWSGI exits, even for a wrong option behind this one, it removes the pidfiles and the stats socket of those that run;
            # of other formats it is told by a last argument not to
            return None
        return value

    def meant(self):
        """What options of one's own stand for where they are used, as `opened` has it (core/config.c, uwsgi_opt_custom())."""
        result, seen = [], set()
        left = [one + (0,) for one in self.others if one[1] in self.declared]
        while left:
            path, key, value, depth = left.pop()
            seen.add((path, key, value))
            words = [word for word in value.split(u' ') if word] or [u'']
            for template in self.declared[key]:
                for part in template.split(u';'):
                    found = part
                    for number, word in enumerate(words):
                        found = found.replace(u'$%d' % (number + 1), word)
                    inner, dummy, rest = found.partition(u'=')
                    if inner in JUDGED:
                        result.append((path, inner, rest))
                    elif inner in self.declared and depth < DEPTH and (path, inner, rest) not in seen:
                        left.append((path, inner, rest, depth + 1))
        return result

    def _load(self, key, value, place):
        if re.search(u'[%%$@]\\(|%s' % UNKNOWN, value) or value == u'-' or _SCHEME.match(value):
            if PLACEHOLDER.search(value):
                self.reads.append((place.shown, value))
            self.found(place, key, True, RUN if re.match(u'(exec|call|callint)://', value) else UNTOLD)
            return None
        path, colon, section = value.rpartition(u':')
        if not colon:
            path, section = value, u'uwsgi'
        kind = LOADS[key] or FORMATS.get(posixpath.splitext(value)[1])
        if kind is None:
            self.found(place, key, True, UNTOLD)
            return None
        if not path:
            path = self.last_ini
            if path is None or kind != '.ini' or key in LATE:
                self.found(place, key, True, UNTOLD)
                return None
        line, late = place.line, place.late
        place.late = late or key in LATE
        try:
            return self.load(kind, value, path, section or u'uwsgi', place)
        except Unclear:
            # what is in there was found, and this line is taken out with it
            self.exact = False
            return None
        finally:
            place.line, place.late = line, late

    def _harm_by_at(self, value, place, depth=0):
        """Why uWSGI is not given a value: it, or a file whose text becomes a part of it, has an address that uWSGI executes; None if all is well.

        From core/io.c, uwsgi_schemes_setup().
        """
        for dummy in range(8):
            new = re.sub(u'\\$\\(([^()]*)\\)', lambda found: self.host.environment.get(found.group(1), found.group()), value)
            if new == value:
                break
            value = new
        for found in re.finditer(u'@\\(', value):
            rest = value[found.end() :]
            if u')' not in rest:
                continue
            for address in set((rest[: matching(rest)], rest.partition(u')')[0])):
                if _SCHEME.match(address) or address == u'-' or depth > 8:
                    return RUN
                if not address.startswith(u'/') and re.search(u'%s|\\$\\(' % UNKNOWN, address):
                    return RUN
                if UNKNOWN in address:
                    continue
                path = posixpath.join(self.host.directory, address)
                self.reads.append((place.shown, path))
                try:
                    text = self.host.read(path)
                except Unclear:
                    return RUN
                why = self._harm_by_at(text, place, depth + 1) if text is not None else None
                # also where there is nothing yet
                why = why or (CHANGES if self.host.alterable(path) else None)
                if why:
                    return why
        return None


def paths_of(option, value, directory=None):
    """The paths in the value of one of OPENS, joined to the directory in which they are opened, but for those that are not absolute then."""
    if option in LOGGERS:
        named = re.findall('^(?:[\\w-]+ )?file:(.*)', value)
        if named and '=' in named[0]:
            # plugins/logfile/logfile.c
            named = re.findall('(?:^|,)(?:logfile|backupname)=([^,]*)', named[0])
    elif option in DIRECTORIES:
        named = [one + '/new' for one in re.findall('^(/[^ *]*)', value)]
    elif option == 'file-write':
        named = re.findall('^([^=]*)', value)
    elif option == 'sharedarea':
        named = re.findall('(?:^|,)file=([^,]*)', value)[:1]
    elif option == 'cache2':
        named = re.findall('(?:^|,)store=([^,]*)', value)[:1]
    elif option in SOCKETS or option.endswith('shared-socket'):
        named = re.findall('^(/[^,]*|[^,:@]+(?=,|$))', value)
    else:
        named = re.findall('^(/.*|[^:@]*$)', value)
    return [path for path in [posixpath.join(directory or '', one) for one in named] if path.startswith('/')]


def matching(text):
    """The index of the bracket that closes one before the text; the text's length if none does."""
    depth = 0
    for index, char in enumerate(text):
        if char == u'(':
            depth += 1
        elif char == u')':
            if not depth:
                return index
            depth -= 1
    return len(text)


def is_packaged_plugin(name):
    """Whether the name of a plugin leads to one that a package installed."""
    name = name.strip(u' \t\r')
    if u':' in name:
        name = name.partition(u':')[2]
    if u'|' in name or UNKNOWN in name:
        return False
    return u'/' not in name or posixpath.normpath(name).startswith(PLUGIN_DIR + '/')


def loop_values(key, value):
    """What %(_) may stand for behind an option like for and if (core/config.c)."""
    if key == u'for':
        return [one for one in value.split(u' ') if one] or [UNKNOWN]
    if key == u'for-times' and re.match(u'[0-9]{1,2}$', value):
        return [u'%d' % number for number in range(1, int(value) + 1)] or [UNKNOWN]
    if re.match(u'if-?(not-)?(exists|file|dir|directory|hostname|plugin)$', key):
        return [value]
    return [UNKNOWN]


def logical_lines(text, values):
    """(number, line, kept) of the lines of a text as uWSGI reads it (core/utils.c, magic_sub()), the last one with or without a line break.

    `line` has all magic variables replaced; `kept` has its line break, and replaced what would be another in a file at another place.
    """
    number = first = 1
    line, kept = [], []
    for piece in re.split(u'(%[\\s\\S]|\n)', text):
        if piece == u'\n':
            yield first, u''.join(line), u''.join(kept) + piece
            line, kept = [], []
            number += 1
            first = number
        elif len(piece) == 2 and piece[0] == u'%':
            value = values.get(piece[1], u'')
            line.append(value)
            placed = piece[1] in u'ospdcenx0123456789OSPDCENX' and UNKNOWN not in value
            kept.append(value.replace(u'%', u'%%') if placed else piece)
            number += piece.count(u'\n')
        else:
            line.append(piece)
            kept.append(piece)
    if line or kept:
        yield first, u''.join(line), u''.join(kept)


# Other formats: pairs of all options and values that may be in there, or ValueError, whose text 'broken' says that uWSGI can't read it either.


def json_pairs(text):
    pairs = []

    def note(items):
        for key, value in items:
            for one in value if isinstance(value, list) else [value]:
                if not isinstance(one, (dict, list, type(None))):
                    pairs.append((_latin(key), _latin(one)))
                else:
                    pairs.append((_latin(key), u''))
        return None

    try:
        text = text.encode('latin-1').decode('utf-8')
    except UnicodeError:
        raise ValueError('broken')
    # libyajl takes comments
    for candidate in (text, re.sub(u'(?s)("(?:[^"\\\\]|\\\\.)*")|/\\*.*?\\*/|//[^\n]*', lambda found: found.group(1) or u' ', text)):
        del pairs[:]
        try:
            json.loads(candidate, object_pairs_hook=note)
            return pairs
        except (ValueError, RuntimeError):
            continue
    raise ValueError('broken')


def _latin(value):
    """A value as the bytes that uWSGI has."""
    if isinstance(value, bool):
        return u'1' if value else u'0'
    return (u'%s' % value).encode('utf-8', 'replace').decode('latin-1')


def xml_pairs(text):
    # only a file that has XML needs it
    from xml.etree import ElementTree  # pylint: disable=import-outside-toplevel

    encoding = re.match(u'\\s*<\\?xml[^>]*encoding\\s*=\\s*["\']([^"\']*)', text)
    if encoding and encoding.group(1).lower() not in (u'utf-8', u'us-ascii', u'ascii', u'iso-8859-1', u'iso-8859-15'):
        raise ValueError('its encoding is another')
    if u'<!DOCTYPE' in text or u'<!ENTITY' in text or text[:2] in (u'\xff\xfe', u'\xfe\xff'):
        raise ValueError('it has entities of its own')
    try:
        root = ElementTree.fromstring(text.encode('latin-1'))
    except ElementTree.ParseError:
        raise ValueError('broken')
    pairs = []
    for element in root.iter():
        tag = element.tag
        pairs.append((_latin(tag.rpartition(u'}')[2]), _latin(element.text or u'')))
    # uWSGI takes whatever comes first in an element, and that may be a comment or a part of the text
    for found in re.finditer(u'(?s)<([^\\s!?/<>]+)[^<>]*><(!--|\\?|!\\[CDATA\\[)(.*?)(-->|\\?>|\\]\\]>)', text):
        pairs.append((found.group(1).rpartition(u':')[2], found.group(3).strip()))
    if u'<![CDATA[' in text and any(key in LOADS for key, dummy in pairs):
        raise ValueError('a part of the text may count alone')
    return pairs


_YAML_KEY = re.compile(u'(["\']?)([A-Za-z0-9_.-]+)\\1\\s*:(?:\\s+(.*))?$')
# Anchors, aliases, tags, explicit keys, mappings in braces, texts over several lines
_YAML_MORE = re.compile(u'(?m)(^|[\\s\\[{,:])[&*!][^\\s,\\]}]|^\\s*\\?(\\s|$)|:\\s*\\{|[|>][+-]?\\d?[+-]?\\s*$|\\\\')


def yaml_pairs(text):
    if _YAML_MORE.search(text):
        raise ValueError('its YAML has more than lines')
    pairs = []
    key = None
    for line in text.splitlines():
        line = line.strip()
        if not line or line[0] == u'#' or line in (u'---', u'...'):
            continue
        item = line.startswith(u'- ')
        found = None if item else _YAML_KEY.match(line)
        if found:
            key, value = found.group(2), found.group(3) or u''
        elif item and key is not None:
            value = line[2:]
            if _YAML_KEY.match(value.strip()):
                raise ValueError('its YAML has more than lines')
        else:
            raise ValueError('its YAML has more than lines')
        value = value.strip()
        if value[:1] in (u'"', u"'"):
            end = value.find(value[0], 1)
            if end < 0:
                raise ValueError('its YAML has more than lines')
            values = [value[1:end]]
        else:
            value = re.sub(u'(^|\\s)#.*', u'', value)
            if value.startswith(u'['):
                if not value.endswith(u']'):
                    raise ValueError('its YAML has more than lines')
                values = [one.strip().strip(u'"\'') for one in value[1:-1].split(u',')]
            else:
                values = [value]
        pairs.extend((key, one) for one in values)
    return pairs


def _decoded(text):
    """A text without what YAML, JSON and XML have for a character."""

    def character(found):
        return u'%c' % min(int(found.group(1), 16), 255)

    text = re.sub(u'\\\\\\s*\n\\s*', u'', text)
    for escape in (u'\\\\x([0-9A-Fa-f]{2})', u'\\\\u([0-9A-Fa-f]{4})', u'\\\\U([0-9A-Fa-f]{8})', u'&#x([0-9A-Fa-f]{1,6});'):
        text = re.sub(escape, character, text)
    text = re.sub(u'&#([0-9]{1,7});', lambda found: u'%c' % min(int(found.group(1)), 255), text)
    return text.replace(u'\\/', u'/')


def _any_of(names):
    return u'(?<![\\w./-])(%s)' % u'|'.join(sorted(map(re.escape, names), key=len, reverse=True))


def judged_words(text, kind):
    """Of a text of a format of which nothing more is known, the options of JUDGED in there; of plugins those that no package has installed."""
    text = _decoded(text)
    if kind == '.yaml':
        text = re.sub(u'(?m)(^|\\s)#.*', u'', text)
    # YAML may name a key before by ? or &
    places = u'(?:(?<=<)|(?<=:))%s(?=[\\s/>])' if kind == '.xml' else u'%s(?=["\']?\\s*:)|[?&](?:\\w+\\s)?\\s*["\']?%s'
    words = set(found.group(found.lastindex) for found in re.finditer(places.replace(u'%s', _any_of(JUDGED.difference(PLUGINS))), text))
    plugins = re.findall(u'%s["\']?\\s*[:>]?\\s*["\']?([^"\'<\n]*)' % _any_of(PLUGINS), text)
    return sorted(words | set(key for key, value in plugins if not re.match(u'[\\w, ]+$', value)))


def find_word(text, strict):
    """(line, word) of what may make uWSGI do something in a text of which nothing more is known, (None, None) if nothing may.

    strict: whether a plugin alone is taken for one.
    """
    lines, text = text, _decoded(text)
    found = re.search(u'([A-Za-z0-9.+-]*(exec|call|callint|http|fd|emperor|data|sym|section)://|@\\()', text)
    words = [name for name in SPECIAL if strict or name not in PLUGINS]
    key = re.search(_any_of(words) + u'(?=["\']?\\s*(?:[:=>/]|$|\\s))', text)
    if not key and not strict:
        key = re.search(u'(?m)(?<![\\w./-])((?:need-)?plugins?)["\']?\\s*[:>][^,\n<]*[/|]', text)
    word = key.group(1) if key else found.group(1) if found else None
    if word is None:
        return None, None
    at = lines.find(word)
    return (None if at < 0 else lines.count(u'\n', 0, at) + 1), word
