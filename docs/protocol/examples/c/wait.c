/* Waits for a cgroup: cc wait.c -lcgtrace -o wait && ./wait /system.slice/kubelet.service */
#include <stdio.h>

#include "cgtrace.h"

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "name a cgroup, for example /system.slice/kubelet.service\n");
        return 2;
    }
    cgtrace_client *client = cgtrace_connect(NULL);
    int held = client ? cgtrace_wait(client, argv[1], CGTRACE_PRESENT, NULL, 30000) : cgtrace_error_code();
    if (held < 0)
        fprintf(stderr, "%s\n", cgtrace_error_message());
    else
        printf("%s: %s\n", argv[1], held ? "present" : "absent after 30 s");
    cgtrace_close(client);
    return held < 0 ? 3 : !held;
}
