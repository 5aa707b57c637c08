#pragma once

#include "base/unique_fd.hpp"
#include "event/loop.hpp"
#include "event/sources.hpp"
#include "io/line_channel.hpp"

#include <cstddef>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

namespace hal::remote {

/**
 * Our client: lines in, lines out, and the brake. While it does not read, nothing is read from the server, and of all
 * answers that are being read at a time just one may be large, as may one when all of them together are; so many large
 * answers take the memory of one.
 */
class Outlet {
 public:
  /** Something that reads from the server; its destructor calls forget(). */
  class Reader {
   public:
    virtual void on_room() = 0;

   protected:
    ~Reader() = default;
  };
  struct Callbacks {
    std::function<void(std::string_view line)> on_line;
    /** A line of so many bytes was passed over. */
    std::function<void(std::size_t bytes)> on_overlong;
    /** The client wants no more. */
    std::function<void()> on_closed;
  };

  Outlet(event::Loop& loop, UniqueFd in, UniqueFd out, Callbacks callbacks);

  /** A JSON text, which may have line breaks between its tokens. */
  void write(std::string_view message);
  /** Reads no more lines, or goes on. */
  void brake(bool held);

  /**
   * Whether `reader` may take more from its server, so that it holds `bytes` that it cannot hand on yet. If not, it
   * hears on_room() when to ask again.
   */
  [[nodiscard]] bool may_read(Reader& reader, std::size_t bytes);
  /** It holds nothing any more. */
  void release(Reader& reader);
  void forget(Reader& reader);

 private:
  void wake();

  std::vector<Reader*> waiting_;
  /** What each holds, and together. */
  std::map<Reader*, std::size_t> held_;
  std::size_t held_bytes_ = 0;
  /** Who holds a large message. */
  Reader* large_ = nullptr;
  std::function<void()> on_closed_;
  event::Defer wake_;
  io::LineChannel channel_;
};

}  // namespace hal::remote
