# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What uWSGI says in logs, journals and on its standard error: why a vassal did not start, and what its configuration lacks.

Applications write into the same logs, so any line may be forged. The lines are shown as data, and the order of the log counts: what
an application says before it fails does not hide why it fails. read_lines() alone touches the host.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import itertools
import os
import re
import stat
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils._text import visible, visible_lines

# Why uWSGI, or the application in it, ends. Neither indents such a line; what is indented goes on with another.
CAUSES = re.compile(
    r"""(?x)
    (^|\ -\ )(\[strict-mode\]\ )?unknown\ config\ directive
    | UNABLE\ to\ load\ uWSGI\ plugin
    | Can't\ find\ section
    | (^|\ -\ )(user|group)\ \S+\ not\ found
    | ^(?!Exception\ ignored\ )(\w+\.)*\w*(Error|Exception)\b
    | [Uu]nable\ to\ (load|find|create|parse|open)
    | ^command\ ".*"\ exited\ with\ non-zero\ code:
    | \b(chdir|bind|chroot|setgid|setuid|setgroups|open|mkdir|exec\w*|listen|realpath|fopen|stat)\(\):[ ]
    | probably\ another\ instance\ of\ uWSGI\ is\ running
    | \bsyntax\ error\b
    """
)
# What is said of an application of Python's, by the process that has loaded it or not; and what other languages say.
MISSING = re.compile(r"^(?:.{1,63} - )?unable to load app \d+ \(mountpoint='(.*?)'\)")
READY = re.compile(r"^(?:.{1,63} - )?\w+ app \d+ \(mountpoint='(.*?)'\) ready in \d+ seconds on interpreter \S+ pid: (\d{1,9})\b")
DYNAMIC = re.compile(r'^(?:.{1,63} - )?\*\*\* no app loaded\. going in full dynamic mode')
LOADED = re.compile(r'^(?:.{1,63} - )?\w[\w. ]* app \d+ (?:\(.*\) )?loaded in \d+ seconds')
# What uWSGI says after each cause that kept it from loading an application; with need-app it then ends.
CONSEQUENCES = re.compile(r'(^| - )(unable to load app \d|unable to find PSGI function entry point|(\*\*\* )?no app loaded\. GAME OVER|FATAL hook failed)')
LAST_WORDS = 'no app loaded. GAME OVER'
# What uWSGI says when a hook has failed that is to end it; where that comes before the workers, it makes them all the same.
FATAL = re.compile(r'^(?:.{1,63} - )?FATAL hook failed, destroying instance')
SPAWNED = re.compile(r'^(?:.{1,63} - )?spawned uWSGI ')
# Better than nothing.
VAGUE = re.compile(r'syntax error|unavailable|invalid|[Nn]o such file')
# uWSGI looks for the pidfile of a daemon that it is about to start.
HARMLESS = re.compile(r'(^| - )open\("[^"]*"\): No such file or directory \[core/daemons\.c line \d+\]$')
# The first line of a start. uWSGI writes the date as ctime() does; the stamp before is that, or what log-date gives to strftime().
START = re.compile(r'^(?:.{1,63} - )?\*\*\* Starting uWSGI \S+ \((?:32|64)bit\) on \[(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})\] \*\*\*$')
# Each start that gets as far as an application has such a line before.
MODE = re.compile(r'\*\*\* Operational MODE: ')
_STAMP = re.compile(r'^(\w{3} \w{3} [ \d]\d [\d:]{8} \d{4} - )')
# Bytes of a log that are read, and the most where all since a change counts.
_TAIL = 32768
LARGEST = 1 << 20


def find_reason(lines):
    """The line of a log that says best why a vassal did not start, or None.

    The last cause counts, because a log tells its story in order; but what comes after uWSGI's last words is said by a process that
    is ending already.
    """
    lines = [_STAMP.sub('', line.rstrip()) for line in lines]
    index = _find(lines)[0]
    if index is None:
        return None
    if lines[index].startswith('chdir(): ') and index and lines[index - 1].startswith('chdir() to '):
        return '%s: %s' % (lines[index - 1], lines[index][len('chdir(): ') :])
    return lines[index].strip()


def _find(lines):
    """(index, strong): which of the lines says best why, None if none does; and whether it is a cause."""
    numbers = [number for number, line in enumerate(lines) if not HARMLESS.search(line)]
    consequences = [number for number in numbers if CONSEQUENCES.search(lines[number])]
    causes = [number for number in numbers if number not in consequences and not lines[number][:1].isspace() and CAUSES.search(lines[number])]
    last = [number for number in consequences if LAST_WORDS in lines[number]][-1:]
    causes = [number for number in causes if last and number < last[0]] or causes
    found = causes or consequences or [number for number in numbers if VAGUE.search(lines[number])]
    return (found[-1], bool(causes)) if found else (None, False)


def find_missing_application(lines, pids, has_application, mountpoints):
    """What a log says of a vassal that accepts requests but has not loaded its application, None where all is well.

    uWSGI goes on without its application unless need-app is set, and answers every request with an error. Whoever sends a request may have an
    application write any line into its log. So nothing counts against an application of which a process of the vassal's says that it has loaded it,
    and only where that could be seen: in lines of the same form. By a request one can hide that an application is missing, and not say that it is.

    lines: all that was written since the change. pids: of the master and its workers. has_application: whether the configuration names one.
    mountpoints: those of Python's applications in the configuration, '' for the one without.
    """
    lines = [_STAMP.sub('', line.strip()) for line in lines]
    ready = [mount for line in lines for mount, pid in READY.findall(line) if int(pid) in pids]
    if any(map(LOADED.search, lines)):
        return None
    said = [line for line in lines for mount in MISSING.findall(line) if mount in mountpoints and mount not in ready]
    if not said and has_application and not ready:
        said = [line for line in lines if DYNAMIC.search(line)]
    return said[-1] if said else None


def find_failed_hook(lines):
    """What a log says of a hook that has failed in a start of a vassal that accepts requests, None where none has.

    Its master takes itself for ending (core/hooks.c), so it can be neither reloaded nor stopped. Before a start has made its workers nobody writes there by
    a request; who forges starts by requests can add some, and take no line away: so it has failed where it has in each of them.

    lines: all that was written since the change.
    """
    said = []
    for part in starts(lines)[1:]:
        own = list(itertools.takewhile(lambda line: not SPAWNED.search(line), part))
        failed = [number for number, line in enumerate(own) if FATAL.search(line)]
        if not failed:
            return None
        said.append(_STAMP.sub('', own[failed[0] - 1]))
    return said[-1] if said else None


def starts(lines):
    """The lines of a log in one list for each start of uWSGI, the first for what stands before any."""
    result = [[]]
    for line in lines:
        if START.search(line):
            result.append([])
        result[-1].append(line)
    return result


def last_failed_start(lines):
    """The lines of the last start that tells why it failed, or of the last one: a crash loop's may only have begun.

    A start without a cause, and of which uWSGI has not said how it operates, may be none: an application that failed can forge the
    first line of another. It tells only where none before it does.
    """
    parts = starts(lines)
    weak = None
    for part in reversed(parts):
        index, strong = _find([_STAMP.sub('', line.rstrip()) for line in part])
        if index is not None:
            if strong or any(map(MODE.search, part)):
                return part
            weak = weak or part
    return weak or parts[-1]


def recent(lines, since):
    """The lines of the starts at `since` (in seconds since the epoch) or later; where none says so, those of the last one.

    A vassal may write its dates in a time zone of its own.
    """
    parts = starts(lines)
    late = [part for part in parts[1:] if _date(part[0]) >= since]
    return sum(late, []) or parts[-1]


def _date(line):
    """When a start began, in seconds since the epoch."""
    try:
        return time.mktime(time.strptime(START.search(line).group(1), '%a %b %d %H:%M:%S %Y'))
    except (ValueError, OverflowError):
        return 0


def complaints(code, said, text=None):
    """What uWSGI's reading of a configuration (exit code and stderr) finds wrong, as a list of sentences without a full stop.

    text: the configuration, where it was read in strict mode; what stands in it as %(placeholder) may be no option.
    """
    found = []
    unknown = False
    lines = said.split('\n')
    for line in lines:
        plugin = re.search(r'UNABLE to load uWSGI plugin: (\S*?([^/\s]+)_plugin\.so): (.*?)( !!!)?$', line)
        if plugin:
            path, name, why = plugin.group(1), plugin.group(2), plugin.group(3)
            if name.startswith('uwsgi_'):
                found.append('there is no plugin %s; the Emperor wants its name without the prefix: %s' % (name, name[len('uwsgi_') :]))
            elif 'No such file' in why:
                found.append('there is no plugin %s (%s); install its package' % (name, path))
            else:
                found.append('the plugin %s can not be loaded: %s' % (name, why))
        section = re.search(r'Can.t find section "([^"]*)" in \w+ configuration file', line)
        if section:
            found.append('it has no section [%s]' % section.group(1))
        if 'unsupported YAML token' in line:
            found.append('uWSGI understands only a part of its YAML: %s' % line.strip())
        unread = re.search(r"unrecognized option '--(ini|xml|yaml|json)'", line)
        if unread:
            found.append('this uWSGI was built without %s files: %s' % (unread.group(1), line.strip()))
        directive = re.search(r'unknown config directive: (.*)', line)
        if directive:
            unknown = True
            if text is not None and '%%(%s)' % directive.group(1) not in text and not found:
                found.append('%s is no option of this uWSGI and its plugins' % directive.group(1))
    if code != 0 and not found and not unknown:
        lines = [line.strip() for line in lines if line.strip()]
        # a parser's first complaint is the one that counts
        parser = next((line for line in lines if re.search(r'error parsing (JSON|YAML)|parser error :', line)), None)
        found.append(parser or find_reason(lines) or (lines[-1] if lines else 'uwsgi ended with %d' % code))
    return [visible(sentence) for sentence in found]


def read_lines(path, offset=0, whole=False):
    """The lines of a log as they are shown, less the empty ones: its end, not before the byte `offset`; [] where it can not be read.

    whole: to have all from that byte on, [] where that is more than LARGEST.

    The application may have put anything in its place: no link is followed, and nothing but a file is read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, 'rb') as handle:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return []
            handle.seek(0, 2)
            size = handle.tell()
            begin = offset if size >= offset else 0
            if whole and size - begin > LARGEST:
                return []
            most = LARGEST if whole else _TAIL
            cut = size - begin > most
            handle.seek(size - most if cut else begin)
            data = handle.read(most)
    except (IOError, OSError):
        return []
    # the end of a line may look like a line of its own
    rest = data.partition(b'\n')[2] if cut else data
    return [line for line in visible_lines(rest if rest.strip() else data) if line.strip()]
