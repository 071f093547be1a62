"""Canonical JSON at the level of bytes: numbers, words and literals, written and read in place without objects."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, strlen

from matching_engine.pools.memory cimport NIL
from matching_engine.pools.names cimport Name, Names

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
    static const char PAIRS[] =
        "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
        "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    """
    const uint8_t* WORD_CHARACTERS
    const char* PAIRS

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
    """A number, two digits at a time."""
    cdef char[20] digits
    cdef int first = 20
    cdef uint64_t left = <uint64_t>value
    if value < 0:
        at[0] = c"-"
        at += 1
        left = <uint64_t>(-value)
    while left >= 100:
        first -= 2
        memcpy(&digits[first], &PAIRS[2 * (left % 100)], 2)
        left //= 100
    if left >= 10:
        first -= 2
        memcpy(&digits[first], &PAIRS[2 * left], 2)
    else:
        first -= 1
        digits[first] = <char>(c"0" + left)
    return put_bytes(at, &digits[first], 20 - first)


cdef inline char* put_name(char* at, const Names* names, uint32_t number) noexcept nogil:
    """A name as a JSON string, no name as null."""
    cdef const Name* name
    if number == NIL:
        return put_literal(at, b"null")
    name = &names.names[number]
    at[0] = c'"'
    at = put_bytes(at + 1, names.text + name.at, name.size)
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
