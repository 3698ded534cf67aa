# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Bytes, text and native strings; and text that others wrote, as it is shown: what a terminal would obey, and what is no text, is escaped.

Only what is shown is escaped. A path that is opened keeps its bytes.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import codecs
import re
import sys
import unicodedata

try:
    from ansible.module_utils.common.text.converters import to_bytes, to_native, to_text
except ImportError:
    # as a program of its own (roles/emperor/templates/usr/local/lib/uwsgi-emperor), without Ansible: what of Ansible's is needed

    def to_bytes(obj, encoding='utf-8', errors=None):
        """A text as bytes, and bytes as they are."""
        return obj if isinstance(obj, bytes) else to_text(obj).encode(encoding, 'replace' if str is bytes else 'surrogateescape')

    def to_text(obj, encoding='utf-8', errors=None):
        """Bytes as a text, a text as it is, and what anything else says of itself, as an error does, which may hold bytes."""
        if not isinstance(obj, (bytes, type(u''))):
            obj = str(obj)
        return obj.decode(encoding, 'replace' if str is bytes else 'surrogateescape') if isinstance(obj, bytes) else obj

    def to_native(obj, encoding='utf-8', errors=None):
        """Bytes or text as Python's own str."""
        return to_bytes(obj, encoding) if str is bytes else to_text(obj, encoding)


# The C0 and C1 controls (less tab and line feed), DEL, the line and paragraph separators, and the marks, embeddings, overrides and
# isolates by which text is reordered. Surrogates stand for bytes that are no UTF-8; a Python whose characters have 16 bits has two
# for each character beyond these.
_UNSEEN = u'\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069'
if sys.maxunicode > 0xFFFF:
    _UNSEEN = u'[%s\ud800-\udfff]' % _UNSEEN
else:
    _UNSEEN = u'[%s]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]' % _UNSEEN
_UNSEEN = re.compile(_UNSEEN)
_HANDLER = 'uwsgi_emperor_visible'
# In characters. Python indents what it points at in a line of code.
LONGEST = 500
# Of the categories of Unicode those of what shows nothing; and fillers that are called letters or symbols.
_NOTHING = ('Zs', 'Zl', 'Zp', 'Cc', 'Cf', 'Cn', 'Co', 'Mn', 'Me')
_FILLERS = u'\u115f\u1160\u2800\u3164\uffa0\U0001d159'
_BLANKS = re.compile(u'^ {41,}|(?<=[^ ]) {9,}')


def _escape_bytes(error):
    return u''.join(u'\\x%02x' % byte for byte in bytearray(error.object[error.start : error.end])), error.end


def _escape(found):
    code = ord(found.group())
    if 0xDC80 <= code <= 0xDCFF:
        # a byte, by surrogateescape
        code -= 0xDC00
    return (u'\\x%02x' if code < 0x100 else u'\\u%04x') % code


codecs.register_error(_HANDLER, _escape_bytes)


def visible_text(value):
    """Bytes or text as a native string that shows each character; line feeds and tabs stay what they are."""
    return to_native(_UNSEEN.sub(_escape, value.decode('utf-8', _HANDLER) if isinstance(value, bytes) else value))


def visible(value):
    """Bytes or text as a native string of one line that shows each character; tabs stay what they are."""
    return visible_text(value).replace('\n', '\\x0a')


def visible_lines(value):
    """The lines of bytes or text, split at line feeds alone, each as visible() has it."""
    lines = visible_text(value).split('\n')
    return lines if lines[-1] else lines[:-1]


def shortened(line):
    """A line as it is quoted, as a native string without long gaps and of a length of its own: words after a gap begin a line of the terminal, as ours do."""
    line = to_text(line).expandtabs(8)
    gaps = _BLANKS.finditer(u''.join(u' ' if unicodedata.category(char) in _NOTHING or char in _FILLERS else char for char in line))
    for begin, end in reversed([gap.span() for gap in gaps]):
        line = u'%s [%d blanks] %s' % (line[:begin], end - begin, line[end:])
    more = len(line) - LONGEST
    return to_native(line if more <= 0 else u'%s... [%d more characters]' % (line[:LONGEST], more))


def visible_result(value):
    """A module's result with each of its strings as visible_text() has it."""
    if isinstance(value, dict):
        return dict((key, visible_result(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [visible_result(item) for item in value]
    return visible_text(value) if isinstance(value, (bytes, type(u''))) else value
