/*
 * Values of single digits: hexadecimal, and those of the Base64 family (RFC 4648 4, RFC 3501
 * 5.1.3), which differ in the last digit only.
 */
#ifndef FORMAT_DIGITS_H
#define FORMAT_DIGITS_H

/* 0 to 15; -1: no digit. */
static inline int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* 0 to 63; -1: no digit. `last` is the one that stands for 63: '/', in mailbox names ','. */
static inline int
base64_value(char c, char last)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == last ? 63 : -1;
}

#endif
