/* libcgtrace: the C client of cgtrace, the cgroup lifecycle tracer.
 *
 * Link with -lcgtrace. A path is that of a cgroup from the root of its hierarchy
 * ("/system.slice/kubelet.service"); it may contain any byte but NUL. A hierarchy is named as in
 * /proc/PID/cgroup: "v2", "memory", "name=systemd"; NULL means any.
 *
 * Errors: a function that returns an int returns a negative CGTRACE_E_... code, one that returns a pointer
 * returns NULL. cgtrace_error_code() and cgtrace_error_message() describe the error of the last call on the
 * same thread.
 *
 * Threads: a client or a watch may be used by any thread, but by only one at a time. Different ones are
 * independent. The library has no other state, starts no thread, handles no signal and never aborts. Calls
 * block; a signal does not interrupt them. Descriptors are close-on-exec; after fork(2) the child must not
 * use those of the parent.
 *
 * Memory: a string returned through a char ** belongs to the caller, who frees it with cgtrace_free().
 */
#ifndef CGTRACE_H
#define CGTRACE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CGTRACE_E_ARGUMENT (-1)    /* an argument is NULL or out of range */
#define CGTRACE_E_CONNECT (-2)     /* no daemon accepts the connection */
#define CGTRACE_E_CLOSED (-3)      /* the connection broke: close the client and connect again */
#define CGTRACE_E_PROTOCOL (-4)    /* invalid message from the daemon */
#define CGTRACE_E_PATH (-5)        /* invalid path; the message shows the right form */
#define CGTRACE_E_UNKNOWN (-6)     /* unknown hierarchy, kind, state, time or boot; or invalid pattern */
#define CGTRACE_E_LIMIT (-7)       /* a limit of the daemon is reached */
#define CGTRACE_E_PERMISSION (-8)  /* the socket does not allow this call */
#define CGTRACE_E_UNAVAILABLE (-9) /* no exact reply is possible now; retry */
#define CGTRACE_E_OTHER (-10)      /* an error that this library does not know */
#define CGTRACE_E_INTERNAL (-11)   /* a bug in this library */

/* States to wait for. */
#define CGTRACE_PRESENT 0   /* the cgroup exists */
#define CGTRACE_ABSENT 1    /* the cgroup does not exist */
#define CGTRACE_POPULATED 2 /* a process is in it or below it */
#define CGTRACE_EMPTY 3     /* no process is; an absent cgroup is empty */

typedef struct cgtrace_client cgtrace_client;
typedef struct cgtrace_watch cgtrace_watch;

/* The version of this library; a static string. */
const char *cgtrace_version(void);

/* The code of the last call of this library on this thread; 0 if it succeeded. */
int cgtrace_error_code(void);

/* The error of the last call on this thread and the remedy; "" if it succeeded. Valid until the next call. */
const char *cgtrace_error_message(void);

/* Frees a string returned by this library; NULL is ignored. Does not change the error. */
void cgtrace_free(char *string);

/* Connects to the daemon. If socket is NULL: to $CGTRACE_SOCKET if set, else to private/io.cgtrace in
 * $CGTRACE_RUNTIME_DIR (default /run/cgtrace) if this process may open it, else to public/io.cgtrace there,
 * which does not serve the identities of processes. */
cgtrace_client *cgtrace_connect(const char *socket);

/* Closes a connection; NULL is ignored. */
void cgtrace_close(cgtrace_client *client);

/* Returns 1 if the cgroup exists, 0 if not. */
int cgtrace_exists(cgtrace_client *client, const char *path, const char *hierarchy);

/* Waits until the cgroup is in a state (CGTRACE_PRESENT, ...). Returns 1 the moment it is, 0 after
 * timeout_ms. A negative timeout_ms waits indefinitely. */
int cgtrace_wait(cgtrace_client *client, const char *path, int state, const char *hierarchy,
                 int64_t timeout_ms);

/* Looks up a path. json receives the type PathResult of io.cgtrace.varlink. Returns 0 on success. */
int cgtrace_lookup_json(cgtrace_client *client, const char *path, const char *hierarchy, char **json);

/* Starts a stream of events that continues after broken connections and restarts of the daemon. patterns and
 * kinds end with a NULL entry; NULL selects all. If since_seq is negative, the stream starts with the next
 * event, else after the event with that number, which an earlier run of the daemon may have sent; if no event
 * has it yet, the error is CGTRACE_E_ARGUMENT. socket is as for cgtrace_connect. */
cgtrace_watch *cgtrace_watch_start(const char *socket, const char *const *patterns, const char *const *kinds,
                                   const char *hierarchy, int64_t since_seq);

/* The next item as JSON, an object with one member:
 *   {"started":{"instance":{...},"seq":N}}                first item: every event after N follows
 *   {"event":{...}}                                       the type Event of io.cgtrace.varlink
 *   {"dropped":N}                                         N events were dropped here: read faster
 *   {"gap":{"reason":"...","from":{...},"until":{...}}}   something is missing here: the type Gap
 *   {"resumed":{"seq":N}}                                 the connection was re-established
 *   {"restarted":{"before":{...},"instance":{...}}}       the daemon was restarted
 * What happened before the connection was re-established or the daemon was restarted follows as events and
 * gaps. After dropped and gap, look up again what must be known.
 * Returns 1 if there is one, 0 after timeout_ms (negative: waits indefinitely). */
int cgtrace_watch_next_json(cgtrace_watch *watch, int64_t timeout_ms, char **json);

/* Ends the stream; NULL is ignored. */
void cgtrace_watch_stop(cgtrace_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
