#pragma once

namespace hal::init {

/**
 * From here on this process and all it starts are held to what a worker's programs need, beyond what the engine holds
 * them to. Irrevocable; implies no_new_privs.
 *
 * - Calls that make set-user-id files, namespaces or mounts, sockets of rare families and others with a record of
 *   flaws fail (call_table.hpp has them with the reasons).
 * - Abstract unix sockets of programs outside of the worker cannot be reached, though the network namespace is shared:
 *   by Landlock, where the kernel is Linux 6.12 or later and has it.
 * - Programs of the same user cannot look into or trace this process, though those it starts.
 *
 * Throws std::system_error where the kernel has no seccomp filters.
 */
void confine();

}  // namespace hal::init
