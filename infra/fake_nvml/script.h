/* What the scenario file says at this moment: the state of each GPU, and which calls fail, hang, crash or lie. */
#ifndef HOURBOOK_FAKE_NVML_SCRIPT_H
#define HOURBOOK_FAKE_NVML_SCRIPT_H

enum { GPUS_MAX = 64, PROCESSES_MAX = 16, XIDS_MAX = 64, LINE_MAX_BYTES = 512, FAILURES_MAX = 128 };
enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    TIMEOUT = 10, FUNCTION_NOT_FOUND = 13, GPU_IS_LOST = 15, UNKNOWN = 999
};
/* Beside NVML's codes, what a call can be scripted to do. */
enum { HANG = -1, CRASH = -2, GARBAGE = -3 };
enum { COMPUTE, GRAPHICS, MPS, KINDS };

typedef unsigned long long u64;

typedef struct {
    int exists, lost, hidden, mig, remap_pending, remap_failed, process_count, xid_count;
    char uuid[96], pci[32], serial[64], part[80], name[96];
    u64 memory_mib, reserved_mib, used_mib, power_mw, energy_uj, throttle, ecc_corrected, ecc_uncorrected, ecc_volatile;
    unsigned utilisation, temperature, sm_clock, memory_clock, remap_corrected, remap_uncorrected, pci_device;
    unsigned recovery_action, has_recovery_action, fabric_state, has_fabric, nvlinks, nvlinks_down, energy_resets;
    unsigned process_pid[PROCESSES_MAX], process_kind[PROCESSES_MAX];
    u64 process_mib[PROCESSES_MAX], xids[XIDS_MAX];
} Gpu;

typedef struct { char call[80]; int gpu, does; double seconds; } Failure;

extern Gpu gpus[GPUS_MAX];
extern char driver[80];
extern int order[GPUS_MAX], order_count;

u64 wall_ms(void);
/* Reads the file again if it has changed, and plays it up to now. The caller holds the lock. */
void refresh(void);
/* What a call on a GPU (-1: on none) is scripted to do: 0 or an NVML code or HANG, CRASH, GARBAGE; `seconds` of a hang. */
int scripted(const char *call, int gpu, double *seconds);

#endif
