/*
 * The scoreboard (scoreboard.h): copies are consistent while somebody writes, texts are ended
 * and cleaned, a writer that was killed inside is noticed and the slot's next owner starts
 * anew.
 */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/scoreboard.h"

START_TEST(test_new_slots_are_free)
{
    struct scoreboard *b = scoreboard_new(10);
    struct score copy;

    ck_assert_uint_eq(scoreboard_slots(b), 10);
    for (size_t i = 0; i < 10; i++) {
        ck_assert_int_eq(scoreboard_read(b, i, &copy), 0);
        ck_assert_uint_eq(copy.protocol, 0);
    }
    scoreboard_free(&b);
    ck_assert_ptr_null(b);
}
END_TEST

START_TEST(test_shared_with_children)
{
    struct scoreboard *b = scoreboard_new(3);
    struct score copy;
    pid_t pid = fork();

    if (pid == 0) {
        struct score *s = scoreboard_slot(b, 2);

        score_begin(s);
        s->protocol = 'i';
        s->pid = getpid();
        memcpy(s->user, "ann", 4);
        score_end(s);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(scoreboard_read(b, 2, &copy), 0);
    ck_assert_uint_eq(copy.protocol, 'i');
    ck_assert_int_eq(copy.pid, pid);
    ck_assert_str_eq(copy.user, "ann");
    scoreboard_free(&b);
}
END_TEST

/* No copy mixes two states, however fast the writer is. */
START_TEST(test_copies_are_consistent)
{
    struct scoreboard *b = scoreboard_new(1);
    struct score copy;
    unsigned good = 0;
    pid_t pid = fork();

    if (pid == 0) {
        struct score *s = scoreboard_slot(b, 0);

        for (uint64_t i = 1;; i++) {
            score_begin(s);
            s->bytes_in = i;
            memset(s->user, 'a' + (int)(i % 26), sizeof s->user - 1);
            s->bytes_out = i;
            score_end(s);
        }
    }
    for (int i = 0; i < 20000; i++) {
        if (scoreboard_read(b, 0, &copy) != 0)
            continue;
        ck_assert_uint_eq(copy.bytes_in, copy.bytes_out);
        if (copy.bytes_in > 0)
            for (size_t k = 0; k + 1 < sizeof copy.user; k++)
                ck_assert_int_eq(copy.user[k], 'a' + (int)(copy.bytes_in % 26));
        good++;
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    ck_assert_uint_gt(good, 0);
    scoreboard_free(&b);
}
END_TEST

/* What a worker writes is shown on a terminal: no control characters, no forged columns. */
START_TEST(test_texts_are_ended_and_cleaned)
{
    struct scoreboard *b = scoreboard_new(1);
    struct score *s = scoreboard_slot(b, 0), copy;

    score_begin(s);
    memset(s->user, 'u', sizeof s->user);
    memset(s->session, 0xff, sizeof s->session);
    memcpy(s->peer, "1 2\n3", 6);
    memcpy(s->command, "UID FETCH\r\x1b", 12);
    score_end(s);
    ck_assert_int_eq(scoreboard_read(b, 0, &copy), 0);
    ck_assert_uint_eq(strlen(copy.user), sizeof copy.user - 1);
    ck_assert_uint_eq(strlen(copy.session), sizeof copy.session - 1);
    ck_assert_str_eq(copy.peer, "1?2?3");
    ck_assert_str_eq(copy.command, "UID FETCH??");
    scoreboard_free(&b);
}
END_TEST

START_TEST(test_killed_writer)
{
    struct scoreboard *b = scoreboard_new(1);
    struct score *s = scoreboard_slot(b, 0), copy;
    pid_t pid = fork();

    if (pid == 0) {
        score_begin(s);
        kill(getpid(), SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(scoreboard_read(b, 0, &copy), ERR_TEMP);
    score_begin(s);
    s->protocol = 'p';
    score_end(s);
    ck_assert_int_eq(scoreboard_read(b, 0, &copy), 0);
    ck_assert_uint_eq(copy.protocol, 'p');
    scoreboard_free(&b);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("scoreboard");
    TCase *t = tcase_create("scoreboard");
    SRunner *runner;
    int failed;

    tcase_add_test(t, test_new_slots_are_free);
    tcase_add_test(t, test_shared_with_children);
    tcase_add_test(t, test_copies_are_consistent);
    tcase_add_test(t, test_texts_are_ended_and_cleaned);
    tcase_add_test(t, test_killed_writer);
    suite_add_tcase(s, t);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
