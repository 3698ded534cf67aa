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

import glob
import grp
import os
import pwd
import re

from ansible_collections.uwsgi.emperor.plugins.module_utils import _alterable, _files
from ansible_collections.uwsgi.emperor.plugins.module_utils._commands import Command
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import RUN_DIR
from ansible_collections.uwsgi.emperor.plugins.module_utils._log import complaints
from ansible_collections.uwsgi.emperor.plugins.module_utils._processes import TIMED_OUT, read, run_all
from ansible_collections.uwsgi.emperor.plugins.module_utils._scan import (
    AS_ROOT,
    AT_EXIT,
    BEFORE_BIND,
    DIRECTORIES,
    KEEPS_ROOT,
    LOGGERS,
    OPENS,
    PLUGINS,
    PLACEHOLDER,
    READS_AS_ROOT,
    READS_IN_CHDIR,
    REMOVES,
    RUNS_AS_ROOT,
    SPOOLERS,
    UNKNOWN,
    Access,
    Unclear,
    paths_of,
    scan,
)
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_bytes, to_native
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import is_set, is_true, lacks_mapping, split_extension

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
            return any(map(_alterable.alterable, _ways(to_native(path.encode('latin-1')))))
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


def _tell(result, own, what, found, remedy):
    """Adds to one of two lists a sentence on what is in reach of others, as open_above() and alterable() have found."""
    # of RUN_DIR it is said once
    if found and found[0] != RUN_DIR:
        sentence = '%s, and %s is not for root alone: %s. Whoever can write there becomes root. %s' % (what, found[0], found[1], remedy)
        if sentence not in result[not own]:
            result[not own].append(sentence)


def _untold(value):
    return 'it can not be told where %s is. Write its path without placeholders' % value.replace(UNKNOWN, '%(_)')


def _ways(path):
    """A path, and where it may be a pattern, all directories in which the names stand for which it has wildcards."""
    parts = path.split('/')
    wild = [index for index, part in enumerate(parts) if re.search('[*?[]', part)]
    ways = [glob.glob('/'.join(parts[:index])) for index in wild[1:]]
    return sum(ways, [path, '/'.join(parts[: wild[0]]) or '/']) if wild else [path]


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
        result = [], []
        for path, own in reads:
            if PLACEHOLDER.search(path):
                result[not own].append('root reads its configuration from %s, and it can not be told which file that is. Write its path' % path)
                continue
            open_ways = [(one, found) for one, found in ((one, _alterable.alterable(one)) for one in _ways(path)) if found]
            for one, found in open_ways[-1:]:
                _tell(result, own, 'root reads its configuration from %s' % one, found, 'Keep it where root alone writes')
        # which uWSGI enters while it is still root
        directory = options.get('chdir') or options.get('force-cwd')
        commands = [(Command(option, value, directory or self.files.enabled_dir), own) for option, value, own in opened if self._is_run(option, value)]
        variables = list(env) + [value for option, value, dummy in opened if option == 'env'] + [one.variable for one, dummy in commands if one.variable]
        for command, own in commands:
            may = 'may still be' if command.option in AT_EXIT + LOGGERS else 'is still'
            root = 'uWSGI %s root when it runs its %s' % (may, command.option)
            if command.untold:
                told = command.text.replace(UNKNOWN, '%(_)').strip()
                result[not own].append('%s, and it can not be told what %s is. Write its path' % (root, told))
                continue
            open_to_others = command.runs and _alterable.alterable(command.directory)
            _tell(result, own, '%s in %s' % (root, command.directory), open_to_others, 'Begin it with cd / &&')
            look = _alterable.open_above if command.by_path else _alterable.alterable
            # where all of the directory is open to others, so is each word that may be a file there
            for path in command.paths(absolute=bool(open_to_others)):
                _tell(result, own, '%s, %s' % (root, path), look(path), 'Keep it where root alone writes')
            for variable in variables if command.runs and not command.clean else []:
                said = 'root may run %s by its %s with %s in the environment' % (command.text.strip(), command.option, variable.partition('=')[0])
                for path in command.led_to(variable):
                    _tell(result, own, said, _alterable.alterable(path), 'Run it by /usr/bin/env -i')
        # where uWSGI was not asked, the text tells
        users = [options.get('uid')] if options else [value for option, value, dummy in opened if option == 'uid']
        if not os.path.exists(self.binary) or all(user in (None, 'root', '0') for user in users):
            # nothing is opened as root, or all is
            return result
        for option, value, own in opened:
            if option in KEEPS_ROOT and is_true(value):
                result[not own].append('uWSGI is still root when it loads the interpreter or the application, by its %s. Leave that out' % option)
            if option in READS_AS_ROOT and PLACEHOLDER.search(value):
                if option not in options or [one[0] for one in opened].count(option) > 1:
                    result[not own].append('uWSGI is still root when it reads its %s for the application, and %s' % (option, _untold(value)))
                # what a single one stands for, uWSGI has said
                value = options.get(option, value)
            paths = re.findall(r'(?:^|(?<=[,= ;]))/[^,; ]+', value) if option in READS_AS_ROOT else []
            if option in READS_IN_CHDIR:
                # after the name of a cache
                paths = [os.path.join(directory or '/', value.partition(' ')[2] or value)]
            for path in paths:
                said = 'uWSGI is still root when it reads its %s, %s, for the application' % (option, path)
                _tell(result, own, said, _alterable.alterable(path), 'Keep it where root alone writes')
        for option, value, own in opened:
            if option in SPOOLERS and value.startswith('/') and not PLACEHOLDER.search(value) and not os.path.isdir(value):
                # core/spooler.c makes it while uWSGI reads the option
                said = 'uWSGI is still root when it makes the directory of its %s, %s' % (option, value)
                _tell(result, own, said, _alterable.open_above(value), 'Make it for the user')
        for option, path in self._removed(opened, options, directory):
            # whatever lies there may go; another file of that name, where the directory is replaced
            found = _alterable.open_above(os.path.dirname(path))
            if found and found[0] != RUN_DIR:
                # of the name that the configuration gives, wherever that lies: not enough to refuse what many have
                said = 'with vacuum uWSGI may still be root when it removes its %s, %s, and %s is not for root alone: %s. Leave vacuum out'
                result[1].append(said % ((option, path) + found))
        places = [one for one in opened if one[0] in OPENS]
        for option, value in sorted(options.items()):
            owners = [own for key, dummy, own in places if key == option]
            if option in OPENS and (option, value) not in [one[:2] for one in places]:
                # what placeholders stand for
                places.append((option, value, any(owners)))
        for option, value, own in places:
            # where uWSGI was not asked there may be a chown-socket
            if option not in AS_ROOT and options and not options.get('chown-socket'):
                continue
            said = 'uWSGI is still root when it opens its %s' % option
            if not PLACEHOLDER.search(value):
                keep = 'Keep it in ' + ('/var/log/uwsgi' if option.startswith('log') else RUN_DIR)
                for path in paths_of(option, value, directory if option in BEFORE_BIND else options.get('force-cwd')):
                    found = _alterable.open_above(path)
                    if option in DIRECTORIES:
                        path, keep = value, 'Keep it where root alone writes'
                    _tell(result, own, '%s, %s' % (said, path), found, keep)
            elif [one[0] for one in opened].count(option) > 1 and not (option.endswith('socket') and ':' in value):
                # what a single one stands for, uWSGI has said
                result[not own].append('%s, and %s' % (said, _untold(value)))
        return result

    @staticmethod
    def _removed(opened, options, directory):
        """(option, path) of what uWSGI removes when it exits, as root where it exits before it has dropped root."""
        if not any(option == 'vacuum' and is_true(value) for option, value, dummy in opened):
            return
        for option, value, dummy in opened:
            if option in REMOVES:
                for path in paths_of(option, options.get(option, '') if PLACEHOLDER.search(value) else value, directory):
                    yield option, path

    @staticmethod
    def _is_run(option, value):
        """Whether root may run, load or change something by an option."""
        return option in RUNS_AS_ROOT or option in LOGGERS and 'pipe:' in value

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
