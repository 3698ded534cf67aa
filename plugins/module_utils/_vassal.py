# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a vassal is, what is wanted of it, and what to do about it. Nothing in here touches the host."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import collections
import fnmatch
import re

from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, to_text


# The Emperor takes no other endings, and no name of 255 bytes or more (uwsgi_emperor_is_valid() in core/emperor.c).
EXTENSIONS = ('.ini', '.yml', '.yaml', '.json', '.js', '.xml')
NAME_LIMIT = 254
# A temporary file beside a vassal's own has a dot and an ending more than that, and a file system takes 255 bytes.
_TEMPORARY = len('..link')

STATES = ('enabled', 'disabled', 'reloaded', 'restarted', 'absent')

# A reload runs the new configuration from the start, but as the vassal's user, in its old environment and on its old
# sockets. These options lose nothing by that; for any other a vassal is restarted.
RELOADABLE = frozenset(
    [
        'buffer-size', 'callable', 'catch-exceptions', 'chdir', 'cheaper', 'cheaper-algo', 'cheaper-initial',
        'cheaper-step', 'check-static', 'disable-logging', 'enable-threads', 'file', 'harakiri', 'harakiri-verbose',
        'home', 'ignore-sigpipe', 'ignore-write-errors', 'lazy', 'lazy-apps', 'limit-post', 'log-date', 'log-format',
        'manage-script-name', 'max-requests', 'max-worker-lifetime', 'memory-report', 'module', 'mount', 'need-app',
        'offload-threads', 'post-buffering', 'processes', 'psgi', 'pyhome', 'pythonpath', 'rack', 'reload-mercy',
        'reload-on-as', 'reload-on-rss', 'route', 'single-interpreter', 'static-map', 'strict', 'threads',
        'touch-reload', 'venv', 'virtualenv', 'worker-reload-mercy', 'workers', 'wsgi', 'wsgi-file',
    ]
)  # fmt: skip


class VassalError(Exception):
    """The one error of this collection: a sentence for the user that names the object, the path and the remedy."""


def check_name(name):
    """Returns the vassal's name as text, or raises VassalError for one that is no plain file name."""
    name = to_text(name)
    if not name:
        raise VassalError('A vassal has an empty name.')
    if name.endswith(EXTENSIONS):
        raise VassalError('%s: a vassal is named without the ending of its file: %s.' % (to_native(name), to_native(name.rsplit('.', 1)[0])))
    if not re.match(r'[A-Za-z0-9_][A-Za-z0-9_.@+-]*\Z', name):
        raise VassalError(
            '%s: not a name for a vassal. It starts with a letter, a digit or an underscore and goes on with those, '
            'dots, hyphens, @ and +: it becomes the name of a file, a socket and an upstream.' % to_native(repr(name)).lstrip('u')
        )
    longest = NAME_LIMIT - len('.yaml') - _TEMPORARY
    if len(name) > longest:
        raise VassalError('%s...: the name has %d characters; a vassal may have %d.' % (to_native(name[:40]), len(name), longest))
    return name


def split_extension(filename):
    """('redmine', '.ini') for redmine.ini; None for what the Emperor would not take for a vassal."""
    for extension in EXTENSIONS:
        if filename.endswith(extension) and len(filename) > len(extension) and not filename.startswith('.'):
            return filename[: -len(extension)], extension
    return None


def expand(names, known, kind='', needed=True):
    """The names in the order asked for, each once; patterns are taken over the sorted `known` names, vassals of a `kind`.

    needed: whether a pattern that no name is like is an error.
    """
    result = []
    for name in names:
        if re.search(r'[*?\[]', name):
            matches = sorted(fnmatch.filter(known, name))
            if not matches and needed:
                raise VassalError('%s: no %svassal has a name like that.' % (to_native(name), kind))
        else:
            matches = [check_name(name)]
        result.extend(match for match in matches if match not in result)
    return result


def render(config):
    """The text of an INI file with the options of the dict `config`; lists repeat their option."""
    lines = [u'[uwsgi]']
    for key, value in config.items():
        key = to_text(key)
        if not re.match(r'[A-Za-z0-9_][A-Za-z0-9_.-]*\Z', key):
            raise VassalError('config: %s is not the name of a uWSGI option.' % to_native(repr(key)).lstrip('u'))
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(one, bool):
                one = 'true' if one else 'false'
            elif one is None:
                raise VassalError('config: %s has no value; leave it out, or write true for a flag.' % to_native(key))
            elif isinstance(one, (dict, list, tuple)):
                raise VassalError('config: %s: a value is a string, a number, a boolean or a list of those.' % to_native(key))
            one = to_text(one)
            if u'\0' in one:
                raise VassalError('config: %s has a NUL character in its value; uWSGI would read it only up to there. Remove it.' % to_native(key))
            if u'\n' in one or u'\r' in one:
                raise VassalError('config: %s has a line break in its value; an option of an INI file is one line.' % to_native(key))
            lines.append(u'%s = %s' % (key, one))
    return u'\n'.join(lines) + u'\n'


def check_content(name, content):
    """Raises VassalError for a text that uWSGI would not read as it stands there."""
    if u'\0' in content:
        line = content[: content.index(u'\0')].count(u'\n') + 1
        raise VassalError('%s: content has a NUL character in line %d; uWSGI would read that line only up to there. Remove it.' % (to_native(name), line))


def ini_lines(text):
    """The (section, option, value) triples of an INI text in their order; what uWSGI passes over is left out."""
    section = None
    for line in to_text(text, errors='surrogate_or_replace').split(u'\n'):
        line = line.strip(u' \t\r')
        if not line or line[0] in u'#;':
            continue
        if line.startswith(u'[') and line.endswith(u']'):
            section = line
            continue
        key, dummy, value = line.partition(u'=')
        yield section, key.strip(u' \t\r'), value.strip(u' \t\r')


def reload_serves(old, new, extension):
    """Whether a graceful reload applies all of the change from the text `old` to `new`, or a restart is due."""
    if old is None or extension != '.ini':
        return False
    return set(option for dummy, option, dummy in set(ini_lines(old)) ^ set(ini_lines(new))) <= RELOADABLE


def is_true(value):
    """Whether uWSGI takes a flag's value for true (uwsgi_opt_true() in core/uwsgi.c)."""
    return value.lower() not in ('false', 'no', '0', 'off')


def is_set(options, name):
    """Whether a flag is among options and true."""
    return name in options and is_true(options[name])


class Situation(object):
    """What was found of one vassal: its file, its link and its processes."""

    def __init__(
        self, name, extension='.ini', text=None, link=None, target=None, pid=None, workers=(), accepting=False, path=None, mtime=None, shared=False,
        access=None, credentials=None, env=None, env_access=None, unfinished=None, leaving=False,
    ):  # fmt: skip
        self.name = name
        self.path = path or name + extension  # where the file is that it runs, or would run
        self.mtime = mtime  # of its file, in seconds since the epoch
        self.extension = extension
        self.text = text  # bytes of the file; None: it is not there
        # None, 'right', 'dangling', 'wrong' (to another file than the available one), 'elsewhere' (to a file, and there is
        # no available one), 'copy' (no link, but a file that equals the available one) or 'file' (no link at all)
        self.link = link
        self.target = target
        self.shared = shared  # whether files and links have one directory: then the file itself is what is enabled
        self.pid = pid
        self.workers = frozenset(workers)  # without a master, its only process
        self.accepting = bool(pid and accepting)
        # 'reload' or 'restart' where a run was killed between the change of the file and what makes the processes take it up
        self.unfinished = unfinished
        self.leaving = leaving  # whether it has neither link nor master, and its supervisor has not seen the last of it
        self.access = access  # (mode, user ID, group ID) of its file
        self.credentials = credentials  # (user ID, group IDs) of its process
        self.env = env  # bytes of the file of its environment, which are secret; None: it is not there
        self.env_access = env_access

    @property
    def filename(self):
        return self.name + self.extension

    @property
    def enabled(self):
        return self.link in ('right', 'file', 'copy', 'elsewhere', 'wrong')

    def summary(self):
        return dict(enabled=self.enabled, running=self.pid is not None, accepting=self.accepting, pid=self.pid)


class Plan(collections.namedtuple('Plan', 'actions mode wants_up wants_gone')):
    """What to do for one vassal. `actions` is what the user reads; `mode` is how its processes get there."""

    __slots__ = ()

    def __new__(cls, actions=(), mode=None, wants_up=False, wants_gone=False):
        """mode: None, 'start', 'reload', 'restart' or 'stop'."""
        return super(Plan, cls).__new__(cls, tuple(actions), mode, wants_up, wants_gone)

    @property
    def changed(self):
        return bool(self.actions)


def make_plan(situation, state, text=None, stale=None, env_differs=False):
    """The Plan that takes a vassal from its situation to the state.

    text: the wanted content of its file as bytes, None to leave it as it is.
    stale: for reloaded and restarted, False says that nothing is newer than what runs; None that it was not asked.
    env_differs: whether its environment is to be another.
    """
    s = situation
    if state in ('disabled', 'absent'):
        if s.link == 'file':
            if state == 'disabled':
                raise VassalError(
                    '%s: %s is a file of its own, not a link, and would be lost. Move it to the directory of available '
                    'vassals first, or use state=absent.' % (s.name, s.target)
                )
        actions = []
        if s.link:
            actions.append('unlink')
        if s.pid:
            actions.append('stop')
        if state == 'absent' and (s.text is not None and s.link != 'elsewhere' or s.env is not None):
            actions.append('remove')
        return Plan(actions, 'stop' if s.pid or s.link or s.leaving else None, wants_gone=True)

    if s.link == 'wrong':
        raise VassalError(
            '%s: %s is what is enabled under this name, not the available file. Remove that link, or use state=disabled first.'
            % (s.name, s.target)
        )
    if text is None and s.text is None:
        raise VassalError(
            '%s: there is no %s%s. Install the package that brings it, or give config or content.'
            % (s.name, s.path, '' if s.target is None else ' (but a link, %s)' % s.target)
        )
    if s.link in ('file', 'copy', 'elsewhere') and text is not None and not s.shared:
        raise VassalError(
            '%s: %s is what is enabled, and not by a link to an available file; move it to the directory of available vassals first.'
            % (s.name, s.target)
        )
    actions = []
    writes = text is not None and text != s.text
    if writes:
        actions.append('write')
    if env_differs:
        actions.append('env')
    if s.link in (None, 'dangling') and not s.shared:
        actions.append('link')
    mode = None
    if not s.pid:
        mode = 'start'
    elif 'link' in actions:
        # its link went a moment ago: it may stay, or go and come back
        mode = 'start'
    elif state == 'restarted' and stale is not False or env_differs:
        # a reload keeps the variables that are not set any more
        mode = 'restart'
    elif writes:
        mode = 'reload' if reload_serves(s.text, text, s.extension) else 'restart'
    elif state == 'reloaded' and stale is not False:
        mode = 'reload'
    if s.unfinished == 'restart' and mode == 'reload' or s.unfinished and not mode:
        mode = s.unfinished
    if mode:
        actions.append(mode)
    return Plan(actions, mode, wants_up=True)


def lacks_mapping(filename, text):
    """Whether a file is YAML without a block of the name uwsgi: uWSGI reads nothing of it, and says so of INI files only."""
    return filename.endswith(('.yml', '.yaml')) and not re.search(br'(?m)^[ \t]*["\']?uwsgi["\']?[ \t]*:[ \t]*(&\S+[ \t]*)?(#.*)?\r?$', text)
