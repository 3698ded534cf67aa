# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What the files of a host of Debian's init script, or of its uwsgi-emperor, become under the Emperor. Nothing in here touches the host."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import re
import shlex

from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import ini_lines, is_true

DEFAULTS = '/etc/default/uwsgi'
INHERITED = '/usr/share/uwsgi/conf/default.ini'

# What Debian's INHERITED sets from 2.0.7 on, and the role's defaults as well.
_KNOWN = {
    'autoload': 'true', 'master': 'true', 'workers': '2', 'processes': '2', 'no-orphans': 'true', 'log-date': 'true', 'chmod-socket': '660',
    'chown-socket': 'www-data', 'uid': 'www-data', 'gid': 'www-data',
}  # fmt: skip
# What the layout says.
_LAYOUT = {
    'pidfile': '/run/uwsgi/%(deb-confnamespace)/%(deb-confname)/pid',
    'socket': '/run/uwsgi/%(deb-confnamespace)/%(deb-confname)/socket',
}
# What uWSGI does where neither an application nor what it inherits says anything, and the role's defaults would change.
_UNSAID = ((('workers', 'processes'), '1'), (('uid',), 'root'), (('gid',), 'root'))
# What Debian's uwsgi-emperor has in its emperor.ini; nothing of it is a vassal's.
EMPEROR_INI = frozenset(
    ['autoload', 'master', 'workers', 'no-orphans', 'pidfile', 'socket', 'logto', 'log-date', 'chmod-socket', 'uid', 'gid', 'emperor', 'daemonize']
)

_NAME = r'[A-Za-z0-9_][A-Za-z0-9_.@+-]*'
# The others, a fifo for example, stay in the application's own directory: its user makes them.
_RUN = re.compile(r'(?:/var)?/run/uwsgi/(?:app|%%\(deb-confnamespace\))/(%s|%%\(deb-confname\))/(socket|pid)(?![A-Za-z0-9_.-])' % _NAME)
_LOG = re.compile(r'/var/log/uwsgi/(?:app|%%\(deb-confnamespace\))/(%s|%%\(deb-confname\))\.log' % _NAME)
# An option's name in INI, YAML, JSON and XML, and its value as far as it can go on one line.
_PLUGINS = re.compile(r'''(\b(?:need-)?plugins?["']?\s*[=:>]\s*)(\[[^\]]*\]|"[^"]*"|'[^']*'|[^"'<\[\n]*)''')
_DAEMONIZE = re.compile(r'''^(\s*(?:\{\s*)?(?:["'<])?)daemonize2?(?=["'>]?\s*[=:>]?)''')
_END_OF_DAEMONIZE = re.compile(r'</daemonize2?>')


def convert(text):
    """An application's file of the init script as the Emperor reads it. Values change, in each of uWSGI's formats; the rest stays."""
    return '\n'.join(line if re.match(r'\s*[#;]', line) else _convert_line(line) for line in text.split('\n'))


def _convert_line(line):
    line = _RUN.sub(r'/run/uwsgi/\1.\2', line)
    line = _LOG.sub(r'/var/log/uwsgi/\1.log', line)
    line = _PLUGINS.sub(lambda found: found.group(1) + re.sub(r'\buwsgi_(?=\w)', '', found.group(2)), line)
    line = _END_OF_DAEMONIZE.sub('</logto>', _DAEMONIZE.sub(r'\1logto', line))
    # a vassal's file knows its own name, and one file may serve two
    return line.replace('%(deb-confnamespace)', 'app').replace('%(deb-confname)', '%n')


def add_options(text, options, why):
    """The text of an INI file, which gets its section if it has none, with options before its own, so that its own win."""
    if not re.search(r'^[ \t]*\[uwsgi\]', text, re.MULTILINE):
        text = '[uwsgi]\n' + text
    lines = ''.join('%s\n' % line for line in ['# ' + why] + ['%s = %s' % option for option in options])
    return re.sub(r'^([ \t]*\[uwsgi\].*)\n?', lambda found: '%s\n%s' % (found.group(1), lines if options else ''), text, count=1, flags=re.MULTILINE)


def section_options(text):
    """The (option, value) pairs of an INI text's section [uwsgi], in their order."""
    return [(to_native(option), to_native(value)) for section, option, value in ini_lines(text) if section == '[uwsgi]']


def inherited(options, own):
    """What an application has to say itself of the (option, value) pairs that it inherits, as it will inherit the role's defaults.

    own: the (option, value) pairs of its own file.
    """
    result = []
    for option, value in options:
        if option in _LAYOUT and value == _LAYOUT[option] or option in ('daemonize', 'declare-option'):
            continue
        if option in _KNOWN and (value == _KNOWN[option] or _KNOWN[option] == 'true' and is_true(value)):
            continue
        if (option, _convert_line(value)) not in own:
            result.append((option, _convert_line(value)))
    said = set(option for option, dummy in list(own) + list(options))
    for names, value in _UNSAID:
        if not said & set(names):
            result.append((names[0], value))
    return result


def read_shell(text):
    """(variables, exported, problems) of /etc/default/uwsgi, which the init script sources: assignments of literals are understood."""
    variables, exported, problems = {}, [], []
    for number, line in enumerate(text.split('\n'), 1):
        line = line.strip()
        if not line or line.startswith('#'):
            continue
        for word in _words(line) or [None]:
            found = word is not None and re.match(r'([A-Za-z_]\w*)(?:=(.*))?\Z', word, re.DOTALL)
            if not found or (found.group(2) is None and not line.startswith('export')):
                problems.append('%s, line %d, is not understood: %s' % (DEFAULTS, number, line))
                break
            if found.group(2) is not None:
                variables[found.group(1)] = found.group(2)
            if line.startswith('export') and found.group(1) not in exported:
                exported.append(found.group(1))
    return variables, [(name, variables[name]) for name in exported if name in variables], problems


def _words(line):
    """The words of a line of assignments, [] for anything that a shell would have to work out."""
    try:
        words = shlex.split(to_native(line), comments=True)
    except ValueError:
        return []
    literal = re.sub(r"'[^']*'", '', line)
    if re.search(r'[$`;&|<>(){}\\]', literal):
        return []
    return words[1:] if words[:1] == ['export'] else words


def environment(exported):
    """The (option, value) pairs that give an application the variables which the init script exported."""
    result = []
    for name, value in exported:
        if name.startswith('UWSGI_'):
            # uWSGI takes these for options
            result.append((name[len('UWSGI_') :].lower().replace('_', '-'), value))
        else:
            result.append(('env', '%s=%s' % (name, value)))
    return result


def convert_vassal(text, user, group):
    """A vassal of uwsgi-emperor, an INI file, as it keeps running: as the user that it ran as, with the workers that it had.

    user, group: those of its Emperor, None where that ran as root. They won over the vassal's own, as only root can change its user.
    """
    options = set(option for option, dummy in section_options(text))
    for option, value in (('uid', user), ('gid', group)):
        if value:
            text = re.sub(r'^([ \t]*%s[ \t]*=[ \t]*).*$' % option, lambda found, value=value: found.group(1) + value, text, flags=re.MULTILINE)
    more = [(names[0], value) for names, value in _UNSAID[:1] if not options & set(names)]
    more += [(option, value) for option, value in (('uid', user or 'root'), ('gid', group or 'root')) if option not in options and value != 'www-data']
    return add_options(text, more, 'As it ran under uwsgi-emperor:')


def rewrite_nginx(text):
    """A file of nginx with the sockets of the init script's layout where the Emperor's vassals have theirs."""
    return re.sub(r'(unix:(?://)?)(?:/var)?/run/uwsgi/app/(%s)/socket\b' % _NAME, r'\1/run/uwsgi/\2.socket', text)


def leftovers(text):
    """The lines (numbers and texts) of a file that still name a path of the init script's layout."""
    return [
        (number, line.strip())
        for number, line in enumerate(text.split('\n'), 1)
        if 'run/uwsgi/app/' in line and not re.match(r'\s*#', line)
    ]
