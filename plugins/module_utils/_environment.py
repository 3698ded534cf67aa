# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The environment variables of a vassal, whose values are secret: the text of the file that holds them, and what may be said of them. Pure.

The file is read by an `inherit` of the defaults, when uWSGI has expanded $(X), @(file) and %(x) in all other options already: only
`%` is special there, as in each file that uWSGI reads.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import re

from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, to_text, visible
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError

MASK = u'********'
# A shorter value is no secret worth the name, and stands in every other line: 1, yes, on.
SHORTEST = 4
# What stands behind a backslash for a character, as Python and JSON write it; and what URLs do not escape.
PYTHON = {u'\n': u'n', u'\r': u'r', u'\t': u't'}
JSON = {u'\n': u'n', u'\r': u'r', u'\t': u't', u'\b': u'b', u'\f': u'f'}
PLAIN = bytearray(b'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~')
HEADER = u'# Written by uwsgi.emperor.uwsgi_vassal, from its option env. The values are secret.\n[uwsgi]\n'
# uWSGI strips the blanks at the end of a line. In an if-opt block it puts the value of an option, here an empty one, for each %(_).
NOTHING = u'uwsgi-emperor-nothing'
_OPEN = u'set-ph = %s=\nif-opt = %s\n' % (NOTHING, NOTHING)
_CLOSE = u'endif =\n'
# Stands, while a line is made, for what no value has.
_NUL = u'\0'


def lines_needed(directory):
    """The lines that the defaults need, so that a vassal reads its environment, which lies in a directory."""
    path = '%s/%%N.ini' % directory
    return ['if-file = %s' % path, 'inherit = %s' % path, 'endif =']


def is_read(directory, text):
    """Whether the text of the defaults has the lines."""
    found = [re.sub(r'\s*=\s*', ' = ', line.strip()).strip() for line in to_native(text, errors='surrogate_or_replace').splitlines()]
    wanted = [line.strip() for line in lines_needed(directory)]
    return any(found[index : index + 3] == wanted for index in range(len(found)))


def values(name, env):
    """The values of a dict as uWSGI is to give them to the application, as text by name; raises VassalError, which quotes no value."""
    result = {}
    for key, value in env.items():
        where = '%s: env: %s' % (to_native(name), to_native(repr(to_text(key))).lstrip('u'))
        key = to_text(key)
        if not re.match(r'[A-Za-z_][A-Za-z0-9_]*\Z', key):
            raise VassalError('%s is not the name of an environment variable: letters, digits and _, and no digit first. Nothing was changed.' % where)
        if key.startswith(u'UWSGI_'):
            raise VassalError('%s: uWSGI takes a variable of such a name for an option of its own; give that by config. Nothing was changed.' % where)
        if value is None or isinstance(value, (dict, list, tuple)):
            raise VassalError('%s: a value is a string, a number or a boolean. Nothing was changed.' % where)
        if isinstance(value, bool):
            value = 'true' if value else 'false'
        value = to_text(value)
        if re.search(u'[\\n\\r\\0]', value):
            raise VassalError('%s: its value has a line break or a NUL, which uWSGI can not take. Nothing was changed.' % where)
        result[key] = value
    return result


def render(env):
    """The text of the file for variables, which are text by name."""
    text = HEADER
    for key in sorted(env):
        value = env[key]
        if value != value.rstrip(u' \t'):
            # an empty %(_) in the middle of each that is meant literally: what comes out is not looked at again
            value = value.replace(u'%(_)', u'%' + _NUL + u'(_)')
            line = u'env = %s=%s' % (key, value.replace(u'%', u'%%').replace(_NUL, u'%(_)'))
            text += _OPEN + line + u'%(_)\n' + _CLOSE
        else:
            text += u'env = %s=%s\n' % (key, value.replace(u'%', u'%%'))
    return text


def parse(text):
    """The variables of a text that render() made, text by name."""
    env = {}
    block = False
    for line in to_text(text, errors='surrogate_or_replace').split(u'\n'):
        if line.startswith(u'if-opt = '):
            block = True
        elif line.startswith(u'endif'):
            block = False
        elif line.startswith(u'env = '):
            key, dummy, value = line[len(u'env = ') :].partition(u'=')
            if block:
                value = value.replace(u'%(_)', u'')
            env[key] = value.replace(u'%%', u'%')
    return env


def changes(old, new):
    """What --diff shows of variables before and after, as two texts: their names, and that a value is another, but no value."""
    before = u''.join(u'%s = %s\n' % (key, MASK) for key in sorted(old))
    after = u''.join(u'%s = %s%s\n' % (key, MASK, u' (changed)' if key in old and old[key] != new[key] else u'') for key in sorted(new))
    return before, after


def secrets(env):
    """The values that are long enough to be told from other words."""
    return [value for value in env.values() if len(value.strip()) >= SHORTEST]


def mask(text, hidden):
    """A native text without the values `hidden`, also as who quotes them writes them: Python, JSON, URLs and HTML, and who quotes that."""
    return mask_lines([text], hidden)[0]


def mask_lines(lines, hidden):
    """Native texts without the values `hidden`, as mask() has them."""
    # the longest first, so that nothing is left of one that has another in it
    forms = sorted(set(form for value in hidden for form in _forms(to_text(value).strip())), key=len, reverse=True)
    masked = []
    for text in map(to_text, lines):
        for form in forms:
            text = text.replace(form, MASK)
        masked.append(to_native(text))
    return masked


def _forms(value):
    """The texts by which a value is written. No pattern: whoever writes what is searched could have that take for ever."""
    once = set([value, to_text(visible(value))])
    for named, quotes in (PYTHON, u''), (PYTHON, u"'"), (JSON, u'"'), (JSON, u'"/'):
        for number in _kept, _unseen, _number, _bytes, _units:
            once.add(u''.join(_escaped(char, named, quotes, number) for char in value))
    doubled = set(form.replace(u'\\', u'\\\\') for form in once)
    quoted = set(form.replace(quote, u'\\' + quote) for form in doubled for quote in (u"'", u'"'))
    data = bytearray(value.encode('utf-8', 'replace'))
    urls = set(u''.join(u'%c' % byte if byte in plain else form % byte for byte in data) for form in (u'%%%02x', u'%%%02X') for plain in (PLAIN, PLAIN + b'/'))
    # a form's blank, and what HTML has for signs of its own
    urls |= set(url.replace(u'%20', u'+') for url in urls)
    html = value.replace(u'&', u'&amp;').replace(u'<', u'&lt;').replace(u'>', u'&gt;')
    pages = set(html.replace(u'"', double).replace(u"'", single) for double in (u'"', u'&quot;', u'&#34;') for single in (u"'", u'&#x27;', u'&#39;'))
    return once | doubled | quoted | urls | pages


def _escaped(char, named, quotes, number):
    if char == u'\\' or char in quotes:
        return u'\\' + char
    if char in named:
        return u'\\' + named[char]
    if char < u' ' or char == u'\x7f':
        return (u'\\u%04x' if named is JSON else u'\\x%02x') % ord(char)
    return char if char < u'\x7f' else number(char)


def _kept(char):
    return char


def _unseen(char):
    return to_text(visible(char))


def _number(char):
    return (u'\\x%02x' if ord(char) < 0x100 else u'\\u%04x' if ord(char) < 0x10000 else u'\\U%08x') % ord(char)


def _bytes(char):
    return u''.join(u'\\x%02x' % byte for byte in bytearray(char.encode('utf-8', 'replace')))


def _units(char):
    """As JSON writes a character, in units of 16 bits."""
    units = bytearray(char.encode('utf-16-be', 'replace'))
    return u''.join(u'\\u%02x%02x' % pair for pair in zip(units[::2], units[1::2]))
