# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What uWSGI's own parser says of the configurations of vassals, and what of that would keep one from starting, or let it become root.

uWSGI is asked with --get, which ends it before it starts anything, and is given nothing that it would execute meanwhile (_scan).

A long file, as one reading of a configuration answers all questions about it: the parser costs too much to be asked twice.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import grp
import os
import pwd

from ansible_collections.uwsgi.emperor.plugins.module_utils import _alterable, _files
from ansible_collections.uwsgi.emperor.plugins.module_utils._exposure import find_exposed
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import RUN_DIR
from ansible_collections.uwsgi.emperor.plugins.module_utils._log import complaints
from ansible_collections.uwsgi.emperor.plugins.module_utils._processes import TIMED_OUT, read, run_all
from ansible_collections.uwsgi.emperor.plugins.module_utils._scan import OPENS, PLUGINS, PLACEHOLDER, READS_AS_ROOT, Access, Unclear, scan
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_bytes, to_native
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import is_set, lacks_mapping, split_extension

PYTHON_OPTIONS = ('wsgi-file', 'file', 'module', 'wsgi', 'paste', 'ini-paste')
APPLICATION_OPTIONS = PYTHON_OPTIONS + ('mount', 'rack', 'psgi')
UWSGI_SOCKETS = ('socket', 'uwsgi-socket')
SOCKETS = UWSGI_SOCKETS + ('http-socket', 'fastcgi-socket', 'scgi-socket')
# What a master starts beside its workers, and waits for when it is to end gracefully, for as long as that runs; it may outlive a reload.
COMMANDS = (
    'attach-control-daemon', 'attach-daemon', 'attach-daemon2', 'cron', 'cron-legion', 'cron2', 'legion-attach-daemon', 'legion-cron',
    'legion-smart-attach-daemon', 'legion-smart-attach-daemon2', 'smart-attach-daemon', 'smart-attach-daemon2', 'unique-cron', 'unique-cron-legion',
    'unique-legion-cron',
)  # fmt: skip
# All that is ever asked of a vassal's configuration, so that one run of uWSGI tells it.
OPTIONS = SOCKETS + APPLICATION_OPTIONS + COMMANDS + (
    'autoload', 'chdir', 'cheap', 'chown-socket', 'gid', 'hook-master-start', 'idle', 'lazy', 'lazy-apps', 'master',
    'force-cwd', 'master-fifo', 'stats', 'stats-server', 'uid', 'vassal-group',
)  # fmt: skip
OPTIONS += tuple(sorted((OPENS | READS_AS_ROOT).difference(OPTIONS)))
NO_MAPPING = 'it has no block named uwsgi, and uWSGI reads nothing else of YAML'
_MARK = '--uwsgi-emperor--'
# The seconds that uWSGI has to read one: whatever file that names, it may be one that never ends.
READING = 60


def _user(name):
    return pwd.getpwnam(name).pw_uid


def _group(name):
    return grp.getgrnam(name).gr_gid


def _id(value, find):
    """The ID of a user or a group by its name or number, None where it is not there."""
    try:
        return int(value) if value.isdigit() else find(value)
    except KeyError:
        return None


def _remedy(uid):
    """What to write in place of a user's number."""
    try:
        return '; write uid = %s' % pwd.getpwuid(int(uid))[0]
    except (KeyError, OverflowError):
        return '; there is none of that number on this host'


def _native(words):
    """Words as the scan has them, for uWSGI and for sentences."""
    return [to_native(word.encode('latin-1')) for word in words]


def _latin(path):
    """A path as the scan has it: each byte a character."""
    return to_bytes(path).decode('latin-1')


class Staging(Access):
    """What the scan of configurations reads, and a directory of our own for what it writes."""

    limit = 1 << 20

    def __init__(self, directory='/'):
        self.root = None
        self.count = 0
        self.environment = dict((_latin(key), _latin(value)) for key, value in os.environ.items())
        self.hostname = _latin(os.uname()[1])
        self.enter(directory)

    def enter(self, directory):
        """Sets the directory in which uWSGI would run."""
        self.directory = _latin(directory)

    def read(self, path):
        path = path.encode('latin-1')
        if not os.path.exists(path):
            return None
        if not os.path.isfile(path):
            # to open a fifo would wait for whoever writes it
            raise Unclear('it is no regular file')
        text = read(path, self.limit + 1)
        if text is None:
            raise Unclear('it can not be read')
        if len(text) > self.limit:
            raise Unclear('it is too long')
        return text.decode('latin-1')

    def is_directory(self, path):
        return os.path.isdir(path.encode('latin-1'))

    def alterable(self, path):
        try:
            return bool(_alterable.alterable_ways(to_native(path.encode('latin-1'))))
        except OSError:
            # it goes at this moment
            return True

    def real(self, path):
        path = path.encode('latin-1')
        return (path if os.path.islink(path) else os.path.realpath(path)).decode('latin-1')

    def stage(self, name, text):
        if self.root is None:
            self.root = _files.stage()
        # one directory for each, as their names count
        self.count += 1
        directory = '%s/%d' % (self.root, self.count)
        os.mkdir(directory, 0o700)
        path = _latin(directory) + u'/' + name
        with open(path.encode('latin-1'), 'wb') as handle:
            handle.write(text.encode('latin-1'))
        return path

    def clear(self):
        if self.root is not None:
            # systemctl's verbs are called often, and need it seldom
            import shutil  # pylint: disable=import-outside-toplevel

            shutil.rmtree(self.root)
            self.root = None


def ask(commands, options):
    """(exit code, stderr, values by option) of uWSGI's own parser, which ends before it starts anything, for each command and its directory."""
    # an option that is not set prints nothing, a flag an empty line: marks keep the values apart; with vacuum it would remove, when
    # it exits, pidfiles and stats sockets of what runs
    asking = ['--set', 'vacuum=false', '--set-ph', 'uwsgi-vassal-mark=' + _MARK]
    for option in options:
        asking += ['--get', 'uwsgi-vassal-mark', '--get', option]
    try:
        said = run_all((['timeout', '-k', '1', str(READING)] + command + asking, cwd) for command, cwd in commands)
    except (IOError, OSError) as error:
        return [(127, to_native(error), {}) for dummy in commands]
    found = []
    for rc, out, err in said:
        parts = out.split(_MARK + '\n')[1:]
        if rc != 0 or len(parts) != len(options):
            parts = []
        if rc == TIMED_OUT[0]:
            err = 'uWSGI did not say within %s s what it has for a configuration' % READING
        found.append((rc, err, dict((option, part.rstrip('\n')) for option, part in zip(options, parts) if part)))
    return found


def unfit(filename, options):
    """What keeps uWSGI from starting a vassal with its options: who is not there, and what its user can't make where only root can."""
    for option, kind, find in ('uid', 'user', _user), ('gid', 'group', _group):
        if option in options and _id(options[option], find) is None:
            return ['there is no %s %s on this host; make it, or set %s in its configuration' % (kind, options[option], option)]
    uid = options.get('uid', '')
    if uid.isdigit() and 'vassal-group' in options:
        return ['its uid is a number, %s, and the defaults need the name of the user%s' % (uid, _remedy(uid))]
    if options.get('uid') in (None, 'root', '0') or not os.path.isdir(RUN_DIR) or _alterable.open_to(os.lstat(RUN_DIR)):
        return []
    for option in SOCKETS:
        if 'vassal-group' in options and os.path.dirname(options.get(option, '')) == RUN_DIR and not options.get('chown-socket'):
            return [
                'its %s, %s, is made by its user %s, and only root makes files in %s; set chown-socket = %s:www-data, so that root makes it'
                % (option, options[option], options['uid'], RUN_DIR, options['uid'])
            ]
    return [
        'its %s, %s, is made by its user %s, and only root makes files in %s; the place for that is %s/%s/%s'
        % (option, path, options['uid'], RUN_DIR, _files.OWN_DIRS, split_extension(filename)[0], os.path.basename(path))
        for option, path in sorted(options.items())
        if option in ('master-fifo', 'stats', 'stats-server') and os.path.dirname(os.path.normpath(path)) == RUN_DIR
    ]


class Configurations(object):
    """The files of vassals, and texts that they would get, as uWSGI reads them. Each is read once.

    files: the Files of the host.
    included: returns what the Emperor adds to a vassal's own file, as uWSGI's arguments in pairs.
    """

    # uWSGI's program: the one that the Emperor runs, once that is known
    binary = '/usr/bin/uwsgi-core'

    def __init__(self, files, included):
        self.files = files
        self._included = included
        # (file name, text that is not written yet or None) -> (complaints, options, what was left out, what is opened by its path, the files that are read)
        self._readings = {}

    def settings(self, arguments, options):
        """(values by option, sentences on what was left out) of uWSGI's own arguments, as those of an Emperor."""
        staging = Staging()
        try:
            found = scan([_latin(word) for word in arguments], staging)
            return ask([([self.binary] + _native(found.arguments), '/')], options)[0][2], _native(found.tell())
        finally:
            staging.clear()

    def forget(self, filename):
        """Makes the next question read a vassal's file again."""
        self._readings.pop((filename, None), None)

    def wrote(self, filename, text):
        """A vassal's file has this text now."""
        self.forget(filename)
        if (filename, text) in self._readings:
            self._readings[filename, None] = self._readings[filename, text]

    def options(self, filename, text=None):
        """What a vassal's file, or the text that it would get, and the defaults say of OPTIONS, '' of a flag; {} if uWSGI can't read them."""
        self.read([(filename, text)])
        return self._readings[filename, text][1]

    def mountpoints(self, filename):
        """Where a vassal's file has uWSGI mount applications of Python's, '' for the one without a mountpoint; none that uWSGI alone could tell."""
        options, opened = self.options(filename), self._readings[filename, None][3]
        plugins = [value for option, value, dummy in opened if option in PLUGINS]
        # --get prints the first one alone
        mounts = [options.get('mount', '')] + [value for option, value, dummy in opened if option == 'mount']
        if plugins and not any('python' in value for value in plugins):
            mounts = []
        found = set(value.partition('=')[0] for value in mounts if '=' in value and not PLACEHOLDER.search(value))
        return found | set([''] if any(option in options for option in PYTHON_OPTIONS) else [])

    def user(self, filename, text=None):
        """As whom root has a vassal run by its file, or the text that it would get, as that or the defaults name the user; None if it can't be told."""
        options = self.options(filename, text)
        # other defaults than the role's may win over the file, and uWSGI tells what the file says
        return options.get('uid', 'root') if 'vassal-group' in options else None

    def identity(self, filename, text=None):
        """(user ID, group ID) as which root has a vassal run by its file, or the text that it would get; None for what can't be told."""
        options, user = self.options(filename, text), self.user(filename, text)
        return None if user is None else _id(user, _user), _id(options.get('gid', '0'), _group) if options else None

    def lint(self, filename, text=None, strict=True):
        """What is wrong with a vassal's file, or with the text that it would get, as uWSGI reads it: a list of sentences.

        strict: whether a text with an option that uWSGI does not know, and passes over, is wrong.
        """
        if not os.path.exists(self.binary):
            return []
        self.read([(filename, text)], strict)
        found, options = self._readings[filename, text][:2]
        return found + unfit(filename, options)

    def exposed(self, filename, text=None, env=()):
        """Where root would read, run, open or make something for a vassal in a directory of others, who become root by that.

        Two lists of sentences: of what its own file, or the text that it would get, says, and of the rest.
        env: variables, each NAME=VALUE, that it is about to get.
        """
        self.read([(filename, text)])
        dummy, options, dummy, opened, reads = self._readings[filename, text]
        return find_exposed(options, opened, reads, env, self.files.enabled_dir, os.path.exists(self.binary))

    def read(self, files, strict=True):
        """Has uWSGI read files, which are pairs of a name and the text that it would get, or None; those that it has not read yet.

        uWSGI is given nothing that it would execute; left_out() tells what that was.
        What it finds is kept for options() and lint(): to read hundreds at once takes a fraction of the time.
        """
        files = [one for one in files if one not in self._readings]
        staging = Staging()
        try:
            looks = [self._harmless(filename, text, strict, staging) for filename, text in files]
            asked = [look for look in looks if look[0]]
            results = dict(zip(map(id, asked), ask([look[:2] for look in asked], OPTIONS)))
            for (filename, text), look in zip(files, looks):
                dummy, directory, found = look
                wrong, options = self._judge(text, look, results.get(id(look), (0, '', {})), strict)
                if lacks_mapping(filename, (read('%s/%s' % (directory, filename)) or b'') if text is None else text):
                    wrong.append(NO_MAPPING)
                opened = [tuple(_native(pair)) + (own,) for pair, own in ((one[:2], one[2]) for one in found.opened)]
                reads = [(_native([path])[0], own) for path, own in found.reads]
                self._readings[filename, text] = wrong, options, _native(found.tell()), opened, reads
        finally:
            staging.clear()

    def _harmless(self, filename, text, strict, staging):
        """(command, directory, Scan) by which uWSGI is asked what a file or a text says, and executes nothing of it; None for the command if it can't be."""
        enabled = os.path.exists('%s/%s' % (self.files.enabled_dir, filename))
        directory = self.files.enabled_dir if enabled or text is not None and os.path.isdir(self.files.enabled_dir) else self.files.available_dir
        if not os.path.isdir(directory):
            # a text for a host that is still to become one of the Emperor's
            directory = '/'
        staging.enter(directory)
        command = self._command(filename)
        path = os.path.realpath('%s/%s' % (self.files.enabled_dir, filename)) if enabled else '%s/%s' % (self.files.available_dir, filename)
        found = scan([_latin(word) for word in command[1:]], staging, None if text is None else text.decode('latin-1'), _latin(path))
        if found.arguments is None:
            return None, directory, found
        command[1:] = _native(found.arguments)
        if text is not None and found.exact:
            command[1:1] = ['--strict'] * strict
        return command, directory, found

    def _judge(self, text, look, result, strict):
        """(complaints, options) of a file or a text, by the `result` of its first reading; of a text in strict mode also of misspelt options."""
        command, directory, scanned = look
        rc, err, options = result
        if command is None or not scanned.exact:
            # what was left out may be what is missed
            return [], options
        if text is None:
            return complaints(rc, err), options
        text = to_native(text, errors='surrogate_or_replace')
        found = complaints(rc, err, text)
        if rc != 0 and rc not in TIMED_OUT and strict:
            # strict mode ends at the first unknown option: one of a plugin that is loaded later, or a placeholder
            command = [word for word in command if word != '--strict']
            rc, err, options = ask([(command, directory)], OPTIONS)[0]
            lenient = complaints(rc, err)
            if lenient:
                found = lenient
            elif is_set(options, 'autoload'):
                rc, err, dummy = ask([(command[:1] + ['--autoload', '--strict'] + command[1:], directory)], OPTIONS)[0]
                found = complaints(rc, err, text)
        return found, options

    def left_out(self, filename):
        """What was not looked at, or not asked of uWSGI, when a vassal's file or a text for it was read: sentences without a full stop."""
        result = []
        for one in sorted((key for key in self._readings if key[0] == filename), key=lambda key: key[1] is not None):
            result.extend(said for said in self._readings[one][2] if said not in result)
        return result

    def _command(self, filename):
        """The arguments with which the Emperor starts a vassal."""
        ending = os.path.splitext(filename)[1]
        command = [self.binary, {'.xml': '--xml', '.ini': '--ini', '.js': '--json', '.json': '--json'}.get(ending, '--yaml'), filename]
        for pair in self._included():
            command += pair
        return command
