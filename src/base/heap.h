/*
 * The heap and the stack of a server of many processes. What a process writes to after a fork
 * becomes its own, a page at a time: these calls keep what a worker writes together, so that
 * thousands of them share the rest. They change where memory lies, never what a program means;
 * where the C library isn't glibc they do nothing.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

/* Gives freed memory back early: for a process that lives long and rests often. */
void heap_tune(void);

/* In a process about to fork workers: fills the gaps between what is allocated, so that the
   children's memory begins on a page of its own. heap_unpack() gives the gaps back, before
   something large is allocated or freed that lives long (a reload). */
void heap_pack(void);
void heap_unpack(void);

/* Gives back all that isn't in use, stack below the caller included: before a long rest. */
void heap_rest(void);

#endif
