#pragma once

namespace hal {

/**
 * Gives back the pages of the program and its libraries that only starting needed; what is used again comes back from
 * the page cache. A relay runs for each session, daemon and gateway for as long as the host.
 */
void drop_startup_pages();

}  // namespace hal
