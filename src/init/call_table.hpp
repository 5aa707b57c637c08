#pragma once

#include "init/call_rules.hpp"

// The calls' numbers: __NR_… of the ABI that the including file is for.
#ifdef HAL_TABLE_OF_I386
#include <asm/unistd_32.h>
#else
#include <asm/unistd.h>
#endif

/**
 * The rules by the calls' names, the same for each ABI: an old call that a newer ABI never had is left out there.
 * Included by one source file for each.
 */
namespace hal::init {

namespace {

/** Newer than the headers of Debian 12; the same on all architectures. */
constexpr std::uint32_t nr_fchmodat2 = 452;
constexpr std::uint32_t nr_open_tree_attr = 467;

constexpr CallRule call_table[] = {
// Set-user-id files: what an agent leaves in a project belongs to the worker's owner on the host, who may be root.
#ifdef __NR_chmod
    {__NR_chmod, Rule::mode, 1},
#endif
    {__NR_fchmod, Rule::mode, 1},
    {__NR_fchmodat, Rule::mode, 2},
    {nr_fchmodat2, Rule::mode, 2},
#ifdef __NR_mknod
    {__NR_mknod, Rule::new_file_mode, 1},
#endif
    {__NR_mknodat, Rule::new_file_mode, 2},
#ifdef __NR_creat
    {__NR_creat, Rule::new_file_mode, 1},
#endif
#ifdef __NR_open
    {__NR_open, Rule::open_mode, 2},
#endif
    {__NR_openat, Rule::open_mode, 3},

    // What they ask for stands in memory, where no filter can look.
    {__NR_openat2, Rule::absent},
    {__NR_clone3, Rule::absent},
    {__NR_io_uring_setup, Rule::absent},
#ifdef __NR_socketcall
    {__NR_socketcall, Rule::absent},
#endif

    // Namespaces and mounts: a user namespace gives all capabilities within, and with them most of the kernel.
    {__NR_clone, Rule::same_namespaces, 0},
    {__NR_unshare, Rule::refused},
    {__NR_setns, Rule::refused},
    {__NR_mount, Rule::refused},
#ifdef __NR_umount
    {__NR_umount, Rule::refused},
#endif
    {__NR_umount2, Rule::refused},
    {__NR_pivot_root, Rule::refused},
    {__NR_open_tree, Rule::refused},
    {nr_open_tree_attr, Rule::refused},
    {__NR_move_mount, Rule::refused},
    {__NR_mount_setattr, Rule::refused},
    {__NR_fsopen, Rule::refused},
    {__NR_fspick, Rule::refused},
    {__NR_fsconfig, Rule::refused},
    {__NR_fsmount, Rule::refused},

    // Address families load modules that few have ever read.
    {__NR_socket, Rule::plain_socket},
    {__NR_socketpair, Rule::plain_socket},

    // Keyrings go by uid, which is the same in all workers, and know no containers.
    {__NR_keyctl, Rule::refused},
    {__NR_add_key, Rule::refused},
    {__NR_request_key, Rule::refused},

    // Files by their handles, past mounts and permissions of folders; descriptors of other processes.
    {__NR_name_to_handle_at, Rule::refused},
    {__NR_open_by_handle_at, Rule::refused},
    {__NR_pidfd_getfd, Rule::refused},

    // Parts of the kernel with a record of flaws that a program in a container has no use for.
    {__NR_bpf, Rule::refused},
    {__NR_perf_event_open, Rule::refused},
    {__NR_userfaultfd, Rule::refused},
    {__NR_fanotify_init, Rule::refused},
    {__NR_vmsplice, Rule::absent},
#ifdef __NR_modify_ldt
    {__NR_modify_ldt, Rule::absent},
#endif
#ifdef __NR_vm86
    {__NR_vm86, Rule::absent},
#endif
#ifdef __NR_vm86old
    {__NR_vm86old, Rule::absent},
#endif

    // The machine as a whole.
    {__NR_init_module, Rule::refused},
    {__NR_finit_module, Rule::refused},
    {__NR_delete_module, Rule::refused},
    {__NR_kexec_load, Rule::refused},
#ifdef __NR_kexec_file_load
    {__NR_kexec_file_load, Rule::refused},
#endif
    {__NR_reboot, Rule::refused},
    {__NR_syslog, Rule::refused},
    {__NR_acct, Rule::refused},
    {__NR_swapon, Rule::refused},
    {__NR_swapoff, Rule::refused},
    {__NR_quotactl, Rule::refused},
    {__NR_quotactl_fd, Rule::refused},
#ifdef __NR_iopl
    {__NR_iopl, Rule::refused},
    {__NR_ioperm, Rule::refused},
#endif
};

}  // namespace

}  // namespace hal::init
