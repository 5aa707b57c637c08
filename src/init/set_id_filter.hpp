#pragma once

namespace hal::init {

/**
 * From here on neither this process nor any it starts can make a set-user-id file, nor a new file with set-group-id:
 * such calls fail with EPERM. What an agent leaves in a project belongs to the worker's owner on the host, who may be
 * root, and no_new_privs does not follow it there. Set-group-id may still be given to what exists, because folders that
 * are shared in a group need it.
 *
 * openat2(2) and io_uring, whose arguments no filter can see, are said not to exist; programs then use the calls that
 * are as old as they. Implies no_new_privs. Throws std::system_error where the kernel has no seccomp filters.
 */
void forbid_set_id_files();

}  // namespace hal::init
