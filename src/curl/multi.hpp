#pragma once

#include "event/loop.hpp"

#include <memory>

/** libcurl's multi-socket interface on the event loop. Nothing here blocks, and nothing of libcurl's shows outside. */
namespace hal::curl {

/**
 * Drives the transfers of its requests; one is enough for a program. Must outlive its requests, not the loop.
 *
 * Host names are resolved in threads of libcurl's, so a program that forks or enters namespaces uses addresses or unix
 * sockets instead.
 */
class Multi {
 public:
  explicit Multi(event::Loop& loop);
  ~Multi();
  Multi(const Multi&) = delete;
  Multi& operator=(const Multi&) = delete;

 private:
  friend class Request;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hal::curl
