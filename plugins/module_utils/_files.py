# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The vassals' files and links, and what a run keeps for the next one in case it is killed.

A run changes something only while it holds the lock. So whatever is there under the name of a temporary file, when a run has
just taken the lock, was left by a run that was killed, and goes.

A long file, as all that is written to a host is written here: a test holds that few files open anything.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import contextlib
import errno
import fcntl
import os
import re
import stat
import subprocess
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils._access import MODE
from ansible_collections.uwsgi.emperor.plugins.module_utils._alterable import alterable, has_acl, open_to
from ansible_collections.uwsgi.emperor.plugins.module_utils._processes import monotonic, read
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, to_text, visible, visible_lines
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError, split_extension

# The runtime directory: uWSGI opens sockets and pidfiles there, as root.
RUN_DIR = '/run/uwsgi'
# Below it, each application's own directory, for what uWSGI makes as the application's user.
OWN_DIRS = RUN_DIR + '/app'
# Only root may read it: the lock, and the marks of changes that running processes have not taken up yet.
STATE_DIR = '/run/uwsgi-vassal'
# Below it, each application's directory for the name of the user as which systemd has run it, by a file.
USER_DIRS = STATE_DIR + '/user'
# Where texts lie while uWSGI's parser reads them, each run's in a directory with its PID in the name.
STAGE = '/run/uwsgi-vassal.'
# The endings of temporary files beside a vassal's file and beside its link; the Emperor takes neither for a vassal.
NEW, LINK = '.new', '.link'
# The ending of what says how old the code is that a vassal runs.
LOADED = '.loaded'
# How many seconds it may take to remove a directory of an application's.
REMOVAL = 20
# In bytes. Nobody writes a larger configuration by hand.
LARGEST = 1 << 20
# Seconds between two attempts to take the lock.
ATTEMPT = 0.05
# How many seconds a run waits for the lock before it says for whom.
SILENCE = 1.0


def entries(directory):
    """The names in a directory, [] where there is none: systemd removes its own ones at any moment."""
    try:
        return os.listdir(directory)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        return []


def usual_socket(filename):
    """The path at which nginx finds a vassal."""
    return '%s/%s.socket' % (RUN_DIR, split_extension(filename)[0])


def user_noted(name):
    """The user as which systemd has run an application since it opened its socket, '' for none."""
    try:
        return ''.join(to_native(entry) for entry in os.listdir('%s/%s' % (USER_DIRS, to_native(name))) if not entry.startswith('.'))
    except OSError:
        return ''


def date_note(name, user, seconds):
    """Gives the note of an application's user a time: what changes later may name another user."""
    os.utime('%s/%s/%s' % (USER_DIRS, to_native(name), user), (seconds, seconds))


def read_text(path):
    """A file's text, None where there is none in UTF-8."""
    data = read(path, -1)
    try:
        return None if data is None else to_native(to_text(data, errors='strict'))
    except UnicodeError:
        return None


def find_texts(start, without=()):
    """The (path, text) pairs of the files at a path, below it and behind links; nothing twice, and no links to directories below /etc itself.

    without: paths to leave out. A file that is no UTF-8 or larger than LARGEST is left out, too.
    """
    seen = set()
    if os.path.isfile(start):
        found = [(os.path.dirname(start), [], [os.path.basename(start)])]
    else:
        found = os.walk(start, followlinks=start != '/etc')
    for parent, directories, files in found:
        if os.path.realpath(parent) in seen:
            directories[:] = []
            continue
        seen.add(os.path.realpath(parent))
        directories[:] = sorted(one for one in directories if '%s/%s' % (parent, one) not in without)
        for name in sorted(files):
            path = os.path.realpath('%s/%s' % (parent, name))
            try:
                if path in seen or path in without or not os.path.isfile(path) or os.path.getsize(path) > LARGEST:
                    continue
            except OSError:
                continue
            seen.add(path)
            text = read_text(path)
            if text is not None:
                yield path, text


def remove(path):
    """Removes a file, or whatever else is there by its name; nothing is followed, and what somebody else removes meanwhile is no error."""
    try:
        os.unlink(path)
    except OSError as error:
        found = None if error.errno == errno.ENOENT else _look(path)
        if found is None:
            return
        if not stat.S_ISDIR(found.st_mode):
            raise
        _remove_tree(path)


def _remove_tree(path):
    """Removes a directory in which others may make files; raises VassalError if they keep making files.

    One in RUN_DIR is moved where only root comes, so that its name is free whatever they do; what they keep making there is gone at the next boot.
    """
    aside = None
    try:
        if path.startswith(RUN_DIR + '/'):
            _make_state_dir()
            aside = '%s/gone.%d.%d' % (STATE_DIR, os.getpid(), monotonic() * 1e6)
            os.rename(path, aside)
        descriptor = os.open(aside or path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ENOENT or _look(path):
            raise
        # systemd removes an application's own directory when that has stopped
        return
    path = aside or path
    try:
        # from here on nobody else comes in
        os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
    # Somebody inside can put a link in the place of a directory meanwhile: rm sees to that, and Python 2.7 does not.
    command = ['timeout', '-k', '1', str(REMOVAL), 'rm', '-rf', '--', path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # pylint: disable=ansible-bad-function
    said = visible_lines(to_native(process.communicate()[0], errors='surrogate_or_replace'))
    if process.returncode and not aside:
        raise VassalError(
            '%s can not be removed (%s). If a process keeps writing there, end that one, and try again.'
            % (visible(path), said[-1] if said else 'it took longer than %d s' % REMOVAL)
        )


def access(path):
    """(mode, user ID, group ID) of a file, None where it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def set_access(path, wanted):
    """Gives a file its mode, owner and group. In between it is open to nobody to whom it is not open before or after."""
    descriptor = os.open(os.path.realpath(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise VassalError('%s is no regular file any more' % path)
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & wanted[0])
        os.fchown(descriptor, *wanted[1:])
        os.fchmod(descriptor, wanted[0])
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def naming(path):
    """Makes an error say which file it is about, as that of a write to a full disk does not."""
    try:
        yield
    except (IOError, OSError) as error:
        error.filename = error.filename or path
        raise


def place(path, text, wanted, mtime=None):
    """Writes a file beside its place and renames it. No other user may read it for a moment."""
    temporary = '%s/.%s%s' % (os.path.dirname(path), os.path.basename(path), NEW)
    remove(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with naming(temporary), os.fdopen(descriptor, 'wb') as handle:
            os.fchown(handle.fileno(), *wanted[1:])
            os.fchmod(handle.fileno(), wanted[0])
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        if mtime is not None:
            os.utime(temporary, (mtime, mtime))
        os.rename(temporary, path)
    except Exception:
        os.unlink(temporary)
        raise


def touch(path):
    """Makes an empty file, and the directories above it, or gives the one that is there the time of now."""
    _make_dir(os.path.dirname(path), 0o755)
    with open(path, 'w'):
        os.utime(path, None)


def read_lines(path):
    """The lines of a file that are not empty, [] where there is none."""
    return [line for line in to_native(read(path) or b'').split('\n') if line.strip()]


def write_lines(path, lines):
    """Puts a file of such lines in the place of a previous one, and makes the directories above it."""
    _make_dir(os.path.dirname(path), 0o755)
    with naming(path + NEW), open(path + NEW, 'w') as handle:
        handle.write(''.join('%s\n' % to_native(line) for line in lines))
    os.rename(path + NEW, path)


def stage():
    """A new directory that only root may enter, for texts that uWSGI's parser is to read; the caller removes it."""
    # systemctl's verbs are called often, and need it seldom
    import tempfile  # pylint: disable=import-outside-toplevel

    return tempfile.mkdtemp(prefix='%s%d.' % (os.path.basename(STAGE), os.getpid()), dir=os.path.dirname(STAGE))


class Files(object):
    """The directories of available and of enabled vassals."""

    def __init__(self, available_dir, enabled_dir):
        self.available_dir = available_dir.rstrip('/')
        self.enabled_dir = enabled_dir.rstrip('/')
        self.env_dir = os.path.dirname(self.available_dir) + '/apps-env'
        self.shared = os.path.realpath(self.available_dir) == os.path.realpath(self.enabled_dir)

    def available_path(self, filename):
        return '%s/%s' % (self.available_dir, filename)

    def enabled_path(self, filename):
        return '%s/%s' % (self.enabled_dir, filename)

    @staticmethod
    def names(directory, there=os.path.lexists):
        """The file names, by name, of the vassals in a directory for whose paths there() is true."""
        try:
            found = [to_native(entry) for entry in os.listdir(directory)]
        except OSError:
            return {}
        return dict((to_text(split_extension(entry)[0]), entry) for entry in found if split_extension(entry) and there('%s/%s' % (directory, entry)))

    def known(self):
        """The file names, by name, of all vassals that have a file or a link."""
        found = self.names(self.available_dir)
        found.update(self.names(self.enabled_dir))
        return found

    def enabled(self):
        """The file names, by name, of the vassals that have a link which leads to a file."""
        return self.names(self.enabled_dir, os.path.exists)

    def available(self):
        """The file names, by name, of the vassals that have an available file."""
        return self.names(self.available_dir, os.path.exists)

    def mtime(self, filename):
        """The time of the file that the Emperor compares, 0 where there is none."""
        for path in self.enabled_path(filename), self.available_path(filename):
            try:
                return int(os.stat(path).st_mtime)
            except OSError:
                continue
        return 0

    def refuse_unlink(self, filename):
        """Raises VassalError if a vassal's link can not be removed: an application that is stopped would only be started again."""
        path = self.enabled_path(filename)
        if os.path.lexists(path) and not os.access(self.enabled_dir, os.W_OK | os.X_OK):
            raise VassalError(
                '%s can not be removed: %s is read-only or immutable. Nothing was changed; make it writable (see findmnt -T and lsattr -d)'
                % (path, self.enabled_dir)
            )

    def env_path(self, filename):
        """The file of a vassal's environment, which is an INI file whatever the vassal's own is."""
        return '%s/%s.ini' % (self.env_dir, split_extension(filename)[0])

    def write(self, filename, text, mtime, new_access=None):
        """Puts a file in place by one rename, with the modification time `mtime`; its access is that of the previous file unless it is given."""
        path = os.path.realpath(self.available_path(filename))
        place(path, text, new_access or access(path) or (MODE, 0, 0), mtime)

    def previous_env_path(self, filename):
        """What a vassal's environment was before, for root alone and until the next boot: the log's last lines may quote it still."""
        return '%s/env/%s' % (STATE_DIR, os.path.basename(self.env_path(filename)))

    def write_env(self, filename, text, new_access=None):
        """Puts the file of a vassal's environment in place, or removes it where there is no text."""
        path, previous = self.env_path(filename), read(self.env_path(filename))
        if previous:
            _make_dir(os.path.dirname(self.previous_env_path(filename)), 0o700)
            place(self.previous_env_path(filename), previous, (0o600, os.geteuid(), os.getegid()))
        if not text:
            remove(path)
            return
        _make_dir(self.env_dir, 0o755)
        place(path, text, new_access or (MODE, 0, 0))

    def link(self, filename):
        target = self.available_path(filename)
        if os.path.dirname(self.available_dir) == os.path.dirname(self.enabled_dir):
            target = '../%s/%s' % (os.path.basename(self.available_dir), filename)
        temporary = '%s/.%s%s' % (self.enabled_dir, filename, LINK)
        remove(temporary)
        os.symlink(target, temporary)
        os.rename(temporary, self.enabled_path(filename))

    def unlink(self, filename):
        remove(self.enabled_path(filename))

    def delete(self, filename):
        remove(self.available_path(filename))

    def delete_all(self, filename):
        """Removes a vassal's file and what it left in the runtime directory. Its log stays, and so does the note of whose that is."""
        name = split_extension(filename)[0]
        # last its file, so that the next run sees that there is something to remove
        for ending in ('socket', 'pid', 'fifo', 'stats'):
            remove('%s/%s.%s' % (RUN_DIR, name, ending))
        remove('%s/%s' % (OWN_DIRS, name))
        self.write_env(filename, None)
        self.delete(filename)

    @staticmethod
    def clear_own_dir(filename, uid):
        """Removes an application's own directory if it, or a directory in it, is another user's than that of the ID `uid`, and not root's, or has an ACL.

        By an ACL the previous user would be let to all that is made there, and what that one left may keep the application from starting: uWSGI can
        put no fifo and no socket in the place of a directory, and the application's user can not remove what is in that.
        """
        path = '%s/%s' % (OWN_DIRS, split_extension(filename)[0])
        found = _look(path)
        if found is None:
            return
        # the directory itself first: where it is right, nobody else changes what is in it
        if (
            _is_anothers(found, uid)
            or has_acl(path, 'default')
            or any(one and _is_anothers(one, uid) for one in [_look('%s/%s' % (path, to_native(entry))) for entry in entries(path)])
        ):
            remove(path)

    # the lock

    def lock(self, timeout, tell=None, sleep=time.sleep):
        """Keeps other runs on this host from changing anything until the descriptor that it returns is closed.

        timeout: in seconds; then it raises VassalError, which names the run that holds the lock.
        tell: is called with a sentence if there is something to wait for.
        sleep: is called between two attempts; what it raises ends them.
        """
        _make_state_dir()
        path = STATE_DIR + '/lock'
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        began = monotonic()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (IOError, OSError) as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN):
                    os.close(descriptor)
                    raise
            waited = monotonic() - began
            if waited >= timeout:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise VassalError('%s has held %s for longer than %d s; nothing was changed.' % (holder, path, timeout))
            if tell and waited > SILENCE:
                tell('waiting for %s, which holds %s.' % (_holder(descriptor), path))
                tell = None
            sleep(min(ATTEMPT, timeout))
        try:
            with naming(path):
                os.ftruncate(descriptor, 0)
                # who has waited has read who held it
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, ('%d %d\n' % (os.getpid(), time.time())).encode())
        except OSError as error:
            os.close(descriptor)
            raise VassalError('%s. Nothing was changed.' % to_native(error))
        self._sweep()
        return descriptor

    @staticmethod
    def busy():
        """Whether another run on this host is changing something."""
        try:
            descriptor = os.open(STATE_DIR + '/lock', os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (IOError, OSError):
            return True
        finally:
            os.close(descriptor)
        return False

    def _sweep(self):
        """Removes the temporary files of runs that were killed."""
        directories = set([self.available_dir, self.enabled_dir, self.env_dir])
        for filename in self.names(self.available_dir, os.path.islink).values():
            parent, base = os.path.split(os.path.realpath(self.available_path(filename)))
            left = '%s/.%s%s' % (parent, base, NEW)
            try:
                if not alterable(parent):
                    remove(left)
                elif stat.S_ISREG(os.lstat(left).st_mode):
                    os.unlink(left)
            except OSError:
                # nobody whose directory it is keeps a run from its work by what is there
                pass
        for directory in directories:
            for entry in entries(directory):
                found = re.match(r'\.(.+?)(\.\w+)?(%s|%s)\Z' % (re.escape(NEW), re.escape(LINK)), to_native(entry))
                if found and (split_extension(found.group(1)) or split_extension(found.group(1) + (found.group(2) or ''))):
                    remove('%s/%s' % (directory, to_native(entry)))
        parent, prefix = os.path.split(STAGE)
        for entry in os.listdir(parent):
            found = re.match(re.escape(prefix) + r'(\d+)\.', to_native(entry))
            if found and not os.path.exists('/proc/' + found.group(1)):
                remove('%s/%s' % (parent, to_native(entry)))

    # changes that running processes have not taken up yet

    def _mark(self, filename):
        return '%s/%s/%s' % (STATE_DIR, self.enabled_dir.strip('/').replace('/', ':'), filename)

    def note(self, filename, mode, processes):
        """Notes that the file of a vassal is about to change, and that these processes, pairs of PID and start, run the previous one.

        mode: how they are made to take it up, 'reload' or 'restart'.
        """
        path = self._mark(filename)
        _make_dir(os.path.dirname(path), 0o700)
        write_lines(path, [mode] + ['%d %d' % one for one in processes])

    def noted(self, filename):
        """(mode, processes) as note() was told of them, None where nothing is noted."""
        lines = read_lines(self._mark(filename))
        return (lines[0], [tuple(map(int, line.split())) for line in lines[1:]]) if lines else None

    def forget(self, filename):
        """The change was taken up, or the vassal is gone."""
        remove(self._mark(filename))

    # how old the code is that running processes have loaded

    def note_loaded(self, filename, life, uid, seconds):
        """Notes when a process of a user, as _processes.life() has it, has loaded its application, in seconds since the epoch."""
        path = self._mark(filename) + LOADED
        _make_dir(os.path.dirname(path), 0o700)
        write_lines(path, ['%d %d %d %d %.3f' % (life + (uid, seconds))])

    def loaded(self, filename):
        """(life, user ID, seconds) as note_loaded() was told of them, each None where nothing is noted."""
        words = ''.join(read_lines(self._mark(filename) + LOADED)).split()
        return (tuple(map(int, words[:3])), int(words[3]), float(words[4])) if len(words) == 5 else (None, None, None)


def _look(path):
    """os.lstat() of what is in an application's own directory, None where nothing is there any more; raises VassalError where root may not look."""
    try:
        return os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise VassalError(
            '%s can not be looked at, not even by root: %s. Its user may have mounted something there; see: findmnt %s'
            % (visible(path), os.strerror(error.errno), visible(path))
        )


def _is_anothers(found, uid):
    return stat.S_ISDIR(found.st_mode) and found.st_uid not in (0, uid)


def _make_dir(path, mode):
    """Makes a directory where there is none, and those above it."""
    if not os.path.isdir(path):
        if not os.path.isdir(os.path.dirname(path)):
            _make_dir(os.path.dirname(path), mode)
        try:
            os.mkdir(path)
        except OSError as error:
            # another run may make the directory at the same time
            if error.errno != errno.EEXIST or not os.path.isdir(path):
                raise
        else:
            os.chmod(path, mode)


def _make_state_dir():
    try:
        os.mkdir(STATE_DIR, 0o700)
    except OSError as error:
        # another run may make it at the same time
        if error.errno != errno.EEXIST:
            raise
    who = open_to(os.lstat(STATE_DIR), STATE_DIR)
    if who:
        raise VassalError('%s: %s; it is for root alone. Remove it. Nothing was changed.' % (STATE_DIR, who))


def _holder(descriptor):
    """Who holds the lock, as it wrote there."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    words = os.read(descriptor, 64).split()
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return 'another run of uwsgi_vassal'
    since = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(int(words[1])))
    return 'another run of uwsgi_vassal, process %d, since %s,' % (int(words[0]), since)
