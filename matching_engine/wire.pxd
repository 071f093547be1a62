"""Canonical JSON at the level of bytes: numbers, words and literals, written and read in place without objects."""

from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, strlen

cdef extern from "Python.h":
    const char* text_of "PyUnicode_DATA"(object text)
    Py_ssize_t size_of "PyUnicode_GET_LENGTH"(object text)

cdef extern from * nogil:
    """
    /* The characters of schemas.ids: bit 0 for Identifier, bit 1 for ClientOrderId. None of them needs escaping. */
    static const unsigned char WORD_CHARACTERS[256] = {
        ['A' ... 'Z'] = 3, ['a' ... 'z'] = 3, ['0' ... '9'] = 3, ['.'] = 3, ['_'] = 3, [':'] = 3, ['-'] = 3,
        ['/'] = 2, ['+'] = 2, ['='] = 2, ['@'] = 2,
    };
    """
    const uint8_t* WORD_CHARACTERS

cdef enum:
    IDENTIFIER = 1
    CLIENT_ORDER_ID = 2
    WORD_SIZE_MAX = 64
    DIGITS_MAX = 19           # of which every number fits uint64

cdef struct Word:
    const char* text
    Py_ssize_t size

cdef struct Scanner:
    const char* at
    const char* end


# -- writing; the caller has made room


cdef inline char* put_bytes(char* at, const char* text, size_t size) noexcept nogil:
    memcpy(at, text, size)
    return at + size


cdef inline char* put_literal(char* at, const char* text) noexcept nogil:
    return put_bytes(at, text, strlen(text))


cdef inline char* put_int(char* at, int64_t value) noexcept nogil:
    cdef char[20] digits
    cdef int first = 20
    cdef uint64_t left = <uint64_t>value
    if value < 0:
        at[0] = c"-"
        at += 1
        left = <uint64_t>(-value)
    while True:
        first -= 1
        digits[first] = <char>(c"0" + left % 10)
        left //= 10
        if left == 0:
            return put_bytes(at, &digits[first], 20 - first)


cdef inline char* put_str(char* at, str text):
    """The text of an identifier, which is ASCII."""
    return put_bytes(at, text_of(text), size_of(text))


cdef inline char* put_quoted(char* at, str text):
    """An identifier as a JSON string, None as null."""
    if text is None:
        return put_literal(at, b"null")
    at[0] = c'"'
    at = put_str(at + 1, text)
    at[0] = c'"'
    return at + 1


cdef inline char* put_optional(char* at, int64_t value) noexcept nogil:
    """A positive number, or null for 0."""
    return put_int(at, value) if value else put_literal(at, b"null")


cdef inline size_t span(const char* first, const char* end) noexcept nogil:
    """The bytes from one place to another."""
    return <size_t>end - <size_t>first


# -- reading; every function says whether the text goes on as expected


cdef inline bint skip(Scanner* scanner, const char* text) noexcept nogil:
    cdef size_t size = strlen(text)
    if span(scanner.at, scanner.end) < size or memcmp(scanner.at, text, size) != 0:
        return False
    scanner.at += size
    return True


cdef inline bint read_word(Scanner* scanner, Word* word, uint8_t characters) noexcept nogil:
    """A word of 1 to 64 characters and the quote behind it."""
    word.text = scanner.at
    while scanner.at < scanner.end and WORD_CHARACTERS[<uint8_t>scanner.at[0]] & characters:
        scanner.at += 1
    word.size = span(word.text, scanner.at)
    return 1 <= word.size <= WORD_SIZE_MAX and skip(scanner, b'"')


cdef inline bint read_number(Scanner* scanner, int64_t* value, int64_t at_most) noexcept nogil:
    """A positive number in its shortest form."""
    cdef const char* first = scanner.at
    cdef uint64_t read = 0
    while scanner.at < scanner.end and c"0" <= scanner.at[0] <= c"9" and span(first, scanner.at) < DIGITS_MAX:
        read = 10 * read + (scanner.at[0] - c"0")
        scanner.at += 1
    if scanner.at == first or first[0] == c"0" or read > <uint64_t>at_most:
        return False
    value[0] = <int64_t>read
    return True


cdef inline bint read_optional(Scanner* scanner, int64_t* value, int64_t at_most) noexcept nogil:
    """A positive number, or null as 0."""
    value[0] = 0
    return skip(scanner, b"null") or read_number(scanner, value, at_most)


cdef inline bint read_choice(Scanner* scanner, const char* no, const char* yes, bint* chosen) noexcept nogil:
    """One of two texts."""
    chosen[0] = skip(scanner, yes)
    return chosen[0] or skip(scanner, no)


cdef inline str str_of(const Word* word):
    return PyUnicode_DecodeASCII(word.text, word.size, NULL)


cdef inline bint is_word(str text, const Word* word):
    return size_of(text) == word.size and memcmp(text_of(text), word.text, word.size) == 0
