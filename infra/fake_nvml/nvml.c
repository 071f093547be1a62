/* A scripted stand-in for libnvidia-ml.so.1: the symbols that the agent reads through the real pynvml.
 *
 * HOURBOOK_FAKE_NVML_SCENARIO names a text file; it is read again whenever it changes. One fact a line:
 *     driver 570.124.06
 *     start 1790000000000              wall clock (ms) that `at` counts from; without it, the loading of the library
 *     gpu 0 uuid GPU-…                 keys: see script.c; a GPU exists from its first line on
 *     gpu 0 process 4242 512 compute   pid, MiB (-1: not told), compute, graphics or mps
 *     order 2 0 1                      the GPUs by NVML's index
 *     function nvmlDeviceGetTemperature 0 999      a call (or nvmlDevice*) on a GPU (or *) answers a code, or does
 *                                                  hang [SECONDS], crash, garbage, missing, ok; the last line decides
 *     at 12.5 gpu 3 lost 1             the same, from 12.5 s after the start; `at` lines stand in order of time
 * Energy is the integral of `power_mw` over that time line, and falls only by a line `gpu 0 energy_reset 1`.
 */
#define _GNU_SOURCE
#include "script.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EVENT_XID = 8, FIELD_RECOVERY_ACTION = 230 };

typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned version; u64 total, reserved, free, used; } MemoryV2;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned pid; u64 used_memory; unsigned gpu_instance, compute_instance; } ProcessInfo;
typedef struct { unsigned pid; u64 used_memory; } ProcessInfoV1;
typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} PciInfo;
typedef struct { Gpu *device; u64 event_type, event_data; unsigned gpu_instance, compute_instance; } EventData;
typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    unsigned value_type, result;
    union { unsigned number; u64 wide; } value;
} FieldValue;
typedef struct { unsigned char cluster[16]; unsigned status, clique, state; } FabricInfo;
typedef struct { unsigned version; unsigned char cluster[16]; unsigned status, clique, state, health; } FabricInfoV2;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static u64 energy_floor_mj[GPUS_MAX];
static unsigned energy_resets[GPUS_MAX];
static int xids_delivered[GPUS_MAX], watched[GPUS_MAX];
static int initialised;

/* What a reader looks for to know that this is not NVIDIA's library. */
const char hourbook_simulated_nvml[] = "hourbook simulated NVML 1";

static int is_gpu(Gpu *gpu) { return gpu >= gpus && gpu < gpus + GPUS_MAX; }

/* Does what the scenario wants of this call, without the lock: a call that hangs stops no other. */
static int misbehave(const char *call, int index) {
    for (u64 began_ms = wall_ms();;) {
        double seconds = 0;
        pthread_mutex_lock(&lock);
        refresh();
        int does = scripted(call, index, &seconds);
        pthread_mutex_unlock(&lock);
        if (does == CRASH) raise(SIGSEGV);
        if (does != HANG) return does;
        if (seconds > 0 && wall_ms() - began_ms >= (u64)(seconds * 1000)) return SUCCESS;
        usleep(20000);
    }
}

/* Takes the lock and brings the GPU up to date; the caller unlocks. A lost GPU answers as the real library does. */
static int enter(const char *call, Gpu *gpu) {
    int does = misbehave(call, is_gpu(gpu) ? (int)(gpu - gpus) : -1);
    pthread_mutex_lock(&lock);
    if (does > 0) return does;
    if (!initialised) return UNINITIALIZED;
    refresh();
    if (does == SUCCESS && gpu && (!is_gpu(gpu) || !gpu->exists)) return INVALID_ARGUMENT;
    return does == SUCCESS && gpu && gpu->lost ? GPU_IS_LOST : does;
}

static int leave(int result) {
    pthread_mutex_unlock(&lock);
    return result;
}

/* Leaves; a call that is scripted to lie fills its answer with rubbish and says that all is well. */
static int leave_with(int result, void *answer, size_t size) {
    if (result == GARBAGE) memset(answer, 0xFE, size), result = SUCCESS;
    return leave(result);
}

static int give_text(int result, char *into, unsigned size, const char *text) {
    if (result == GARBAGE) snprintf(into, size, "%s", "\x01\xff[garbage]"), result = SUCCESS;
    else if (result == SUCCESS && !*text) result = NOT_SUPPORTED;
    else if (result == SUCCESS && strlen(text) >= size) result = INSUFFICIENT_SIZE;
    else if (result == SUCCESS) strcpy(into, text);
    return leave(result);
}

#define GIVE(type, name, expression)                          \
    int name(Gpu *gpu, type *value) {                         \
        int result = enter(#name, gpu);                       \
        if (result == SUCCESS) *value = (expression);         \
        return leave_with(result, value, sizeof *value);      \
    }

#define GIVE_TEXT(name, field)                                            \
    int name(Gpu *gpu, char *into, unsigned size) {                       \
        return give_text(enter(#name, gpu), into, size, gpu->field);      \
    }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int does = misbehave("nvmlInitWithFlags", -1);
    if (does > 0) return does;
    pthread_mutex_lock(&lock);
    initialised++;
    refresh();
    return leave(SUCCESS);
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) {
    pthread_mutex_lock(&lock);
    if (initialised) initialised--;
    return leave(SUCCESS);
}
const char *nvmlErrorString(int result) {
    switch (result) {
        case SUCCESS: return "Success";
        case UNINITIALIZED: return "Uninitialized";
        case INVALID_ARGUMENT: return "Invalid Argument";
        case NOT_SUPPORTED: return "Not Supported";
        case NOT_FOUND: return "Not Found";
        case INSUFFICIENT_SIZE: return "Insufficient Size";
        case TIMEOUT: return "Timeout";
        case GPU_IS_LOST: return "GPU is lost";
        default: return "Unknown Error";
    }
}
int nvmlSystemGetDriverVersion(char *into, unsigned size) {
    return give_text(enter("nvmlSystemGetDriverVersion", NULL), into, size, driver);
}
int nvmlSystemGetNVMLVersion(char *into, unsigned size) {
    return give_text(enter("nvmlSystemGetNVMLVersion", NULL), into, size, driver);
}

/* Returns the GPU behind an index of NVML, or NULL behind the last. */
static Gpu *gpu_at(unsigned index) {
    if (order_count) return index < (unsigned)order_count ? &gpus[order[index]] : NULL;
    for (int i = 0; i < GPUS_MAX; i++)
        if (gpus[i].exists && !gpus[i].hidden && !index--) return &gpus[i];
    return NULL;
}
int nvmlDeviceGetCount_v2(unsigned *count) {
    int result = enter("nvmlDeviceGetCount_v2", NULL);
    for (*count = 0; result == SUCCESS && gpu_at(*count);) ++*count;
    return leave_with(result, count, sizeof *count);
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **gpu) {
    pthread_mutex_lock(&lock);
    refresh();
    Gpu *found = gpu_at(index);
    pthread_mutex_unlock(&lock);
    if (!found) return INVALID_ARGUMENT;
    int result = enter("nvmlDeviceGetHandleByIndex_v2", found);
    if (result == SUCCESS) *gpu = found;
    return leave(result);
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **gpu) {
    int result = enter("nvmlDeviceGetHandleByUUID", NULL);
    if (result != SUCCESS) return leave(result);
    for (int i = 0; i < GPUS_MAX; i++)
        if (gpus[i].exists && !strcmp(gpus[i].uuid, uuid)) return *gpu = &gpus[i], leave(gpus[i].lost ? GPU_IS_LOST : 0);
    return leave(NOT_FOUND);
}

GIVE_TEXT(nvmlDeviceGetUUID, uuid)
GIVE_TEXT(nvmlDeviceGetName, name)
GIVE_TEXT(nvmlDeviceGetSerial, serial)
GIVE_TEXT(nvmlDeviceGetBoardPartNumber, part)
GIVE(unsigned, nvmlDeviceGetPowerUsage, (unsigned)gpu->power_mw)
GIVE(u64, nvmlDeviceGetCurrentClocksEventReasons, gpu->throttle)
GIVE(u64, nvmlDeviceGetCurrentClocksThrottleReasons, gpu->throttle)
GIVE(Utilization, nvmlDeviceGetUtilizationRates, ((Utilization){gpu->utilisation, gpu->utilisation / 2}))
GIVE(Memory, nvmlDeviceGetMemoryInfo,
     ((Memory){gpu->memory_mib << 20, (gpu->memory_mib - gpu->used_mib - gpu->reserved_mib) << 20,
               (gpu->used_mib + gpu->reserved_mib) << 20}))
GIVE(MemoryV2, nvmlDeviceGetMemoryInfo_v2,
     ((MemoryV2){value->version, gpu->memory_mib << 20, gpu->reserved_mib << 20,
                 (gpu->memory_mib - gpu->used_mib - gpu->reserved_mib) << 20, gpu->used_mib << 20}))

int nvmlDeviceGetTotalEnergyConsumption(Gpu *gpu, u64 *millijoules) {
    int result = enter("nvmlDeviceGetTotalEnergyConsumption", gpu);
    if (result != SUCCESS) return leave_with(result, millijoules, sizeof *millijoules);
    u64 *floor_mj = &energy_floor_mj[gpu - gpus];
    if (energy_resets[gpu - gpus] != gpu->energy_resets) *floor_mj = 0;
    energy_resets[gpu - gpus] = gpu->energy_resets;
    if (gpu->energy_uj / 1000 > *floor_mj) *floor_mj = gpu->energy_uj / 1000;
    *millijoules = *floor_mj;
    return leave(result);
}
int nvmlDeviceGetPciInfo_v3(Gpu *gpu, PciInfo *info) {
    int result = enter("nvmlDeviceGetPciInfo_v3", gpu);
    if (result == SUCCESS) {
        memset(info, 0, sizeof *info);
        sscanf(gpu->pci, "%x:%x:%x", &info->domain, &info->bus, &info->device);
        info->pci_device_id = gpu->pci_device;
        snprintf(info->bus_id, sizeof info->bus_id, "%s", gpu->pci);
        snprintf(info->bus_id_legacy, sizeof info->bus_id_legacy, "%04x:%02x:%02x.0", info->domain & 0xffff,
                 info->bus & 0xff, info->device & 0xff);
    }
    return leave_with(result, info, sizeof *info);
}
int nvmlDeviceGetTemperature(Gpu *gpu, unsigned sensor, unsigned *celsius) {
    int result = enter("nvmlDeviceGetTemperature", gpu);
    (void)sensor;
    if (result == SUCCESS) *celsius = gpu->temperature;
    return leave_with(result, celsius, sizeof *celsius);
}
int nvmlDeviceGetClockInfo(Gpu *gpu, unsigned clock, unsigned *mhz) {
    int result = enter("nvmlDeviceGetClockInfo", gpu);
    if (result == SUCCESS) *mhz = clock == 2 ? gpu->memory_clock : gpu->sm_clock;
    return leave_with(result, mhz, sizeof *mhz);
}
int nvmlDeviceGetTotalEccErrors(Gpu *gpu, unsigned error_type, unsigned counter, u64 *count) {
    int result = enter("nvmlDeviceGetTotalEccErrors", gpu);
    if (result == SUCCESS) *count = !error_type ? gpu->ecc_corrected : counter ? gpu->ecc_uncorrected : gpu->ecc_volatile;
    return leave_with(result, count, sizeof *count);
}
int nvmlDeviceGetRemappedRows(Gpu *gpu, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                              unsigned *failed) {
    int result = enter("nvmlDeviceGetRemappedRows", gpu);
    if (result == SUCCESS) {
        *corrected = gpu->remap_corrected;
        *uncorrected = gpu->remap_uncorrected;
        *pending = (unsigned)gpu->remap_pending;
        *failed = (unsigned)gpu->remap_failed;
    }
    return leave(result);
}
int nvmlDeviceGetMigMode(Gpu *gpu, unsigned *current, unsigned *pending) {
    int result = enter("nvmlDeviceGetMigMode", gpu);
    if (result == SUCCESS) *current = *pending = (unsigned)gpu->mig;
    return leave(result);
}
int nvmlDeviceGetFieldValues(Gpu *gpu, int count, FieldValue *values) {
    int result = enter("nvmlDeviceGetFieldValues", gpu);
    for (int i = 0; result == SUCCESS && i < count; i++) {
        int is_known = values[i].field == FIELD_RECOVERY_ACTION && gpu->has_recovery_action;
        values[i].result = is_known ? SUCCESS : NOT_SUPPORTED;
        values[i].value_type = 1;
        values[i].value.number = is_known ? gpu->recovery_action : 0;
    }
    return leave_with(result, values, (size_t)count * sizeof *values);
}
int nvmlDeviceGetGpuFabricInfo(Gpu *gpu, FabricInfo *info) {
    int result = enter("nvmlDeviceGetGpuFabricInfo", gpu);
    if (result == SUCCESS && !gpu->has_fabric) result = NOT_SUPPORTED;
    if (result == SUCCESS) *info = (FabricInfo){{0}, SUCCESS, 0, gpu->fabric_state};
    return leave_with(result, info, sizeof *info);
}
int nvmlDeviceGetGpuFabricInfoV(Gpu *gpu, FabricInfoV2 *info) {
    int result = enter("nvmlDeviceGetGpuFabricInfoV", gpu);
    if (result == SUCCESS && !gpu->has_fabric) result = NOT_SUPPORTED;
    if (result == SUCCESS) *info = (FabricInfoV2){info->version, {0}, SUCCESS, 0, gpu->fabric_state, 0};
    return leave_with(result, info, sizeof *info);
}
int nvmlDeviceGetNvLinkState(Gpu *gpu, unsigned link, unsigned *is_active) {
    int result = enter("nvmlDeviceGetNvLinkState", gpu);
    if (result == SUCCESS && !gpu->nvlinks) result = NOT_SUPPORTED;
    if (result == SUCCESS && link >= gpu->nvlinks) result = INVALID_ARGUMENT;
    if (result == SUCCESS) *is_active = link >= gpu->nvlinks_down;
    return leave_with(result, is_active, sizeof *is_active);
}

static int list_processes(const char *call, unsigned kind, Gpu *gpu, unsigned *count, void *infos, int is_v1) {
    int result = enter(call, gpu);
    if (result != SUCCESS && result != GARBAGE) return leave(result);
    ProcessInfo found[PROCESSES_MAX] = {{0, 0, 0, 0}};
    unsigned room = *count, listed = 0;
    for (int i = 0; i < gpu->process_count; i++) {
        u64 mib = gpu->process_mib[i];
        if (gpu->process_kind[i] != kind) continue;
        found[listed++] = (ProcessInfo){gpu->process_pid[i], mib == ~0ULL ? mib : mib << 20, 0xFFFFFFFF, 0xFFFFFFFF};
    }
    if (result == GARBAGE) found[0] = (ProcessInfo){0xFEEDBEEF, 7, 0, 0}, listed = listed ? listed : 1;
    *count = listed;
    if (room < listed) return leave(INSUFFICIENT_SIZE);
    for (unsigned i = 0; i < listed; i++) {
        if (is_v1) ((ProcessInfoV1 *)infos)[i] = (ProcessInfoV1){found[i].pid, found[i].used_memory};
        else ((ProcessInfo *)infos)[i] = found[i];
    }
    return leave(SUCCESS);
}

#define LIST(name, kind, is_v1)                                                       \
    int name(Gpu *gpu, unsigned *count, void *infos) {                                \
        return list_processes(#name, kind, gpu, count, infos, is_v1);                 \
    }
LIST(nvmlDeviceGetComputeRunningProcesses, COMPUTE, 1)
LIST(nvmlDeviceGetComputeRunningProcesses_v2, COMPUTE, 0)
LIST(nvmlDeviceGetComputeRunningProcesses_v3, COMPUTE, 0)
LIST(nvmlDeviceGetGraphicsRunningProcesses, GRAPHICS, 1)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, GRAPHICS, 0)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, GRAPHICS, 0)
LIST(nvmlDeviceGetMPSComputeRunningProcesses, MPS, 1)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v2, MPS, 0)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3, MPS, 0)

int nvmlEventSetCreate(void **set) {
    int does = misbehave("nvmlEventSetCreate", -1);
    if (does > 0) return does;
    return *set = watched, SUCCESS;
}
int nvmlEventSetFree(void *set) { return (void)set, SUCCESS; }
int nvmlDeviceRegisterEvents(Gpu *gpu, u64 types, void *set) {
    int result = enter("nvmlDeviceRegisterEvents", gpu);
    (void)set;
    if (result == SUCCESS && types & EVENT_XID && !watched[gpu - gpus]) {
        watched[gpu - gpus] = 1;
        xids_delivered[gpu - gpus] = gpu->xid_count; /* the driver tells nobody what came before he listened */
    }
    return leave(result);
}

static int next_xid(EventData *event) {
    for (int i = 0; i < GPUS_MAX; i++)
        if (watched[i] && xids_delivered[i] < gpus[i].xid_count) {
            *event = (EventData){&gpus[i], EVENT_XID, gpus[i].xids[xids_delivered[i]++], 0xFFFFFFFF, 0xFFFFFFFF};
            return SUCCESS;
        }
    return TIMEOUT;
}
int nvmlEventSetWait_v2(void *set, EventData *event, unsigned timeout_ms) {
    (void)set;
    for (u64 end_ms = wall_ms() + timeout_ms;;) {
        int result = enter("nvmlEventSetWait_v2", NULL);
        if (result == SUCCESS) result = next_xid(event);
        leave(result);
        if (result != TIMEOUT || wall_ms() >= end_ms) return result == GARBAGE ? UNKNOWN : result;
        usleep(50000);
    }
}

/* For the test that compares these layouts with pynvml's own. */
unsigned hourbook_fake_nvml_sizeof(const char *name) {
    struct { const char *name; size_t size; } sizes[] = {
        {"c_nvmlMemory_t", sizeof(Memory)}, {"c_nvmlMemory_v2_t", sizeof(MemoryV2)},
        {"c_nvmlUtilization_t", sizeof(Utilization)}, {"c_nvmlProcessInfo_t", sizeof(ProcessInfo)},
        {"nvmlPciInfo_t", sizeof(PciInfo)}, {"c_nvmlEventData_t", sizeof(EventData)},
        {"c_nvmlFieldValue_t", sizeof(FieldValue)}, {"c_nvmlGpuFabricInfo_t", sizeof(FabricInfo)},
        {"c_nvmlGpuFabricInfo_v2_t", sizeof(FabricInfoV2)},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (!strcmp(name, sizes[i].name)) return (unsigned)sizes[i].size;
    return 0;
}
