#pragma once

#include "bus/authoriser.hpp"
#include "bus/reply.hpp"

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace hal::bus {

/** Who sent the message `object` is being called with. */
[[nodiscard]] Caller current_caller(const sdbus::IObject& object);

/** The method `object` is being called with. */
[[nodiscard]] std::string current_member(const sdbus::IObject& object);

/** What every method needs: its answer, and to run only once its caller may call it. */
class Calls {
 public:
  Calls(std::shared_ptr<sdbus::IConnection> connection, Authoriser& authoriser)
      : connection_(std::move(connection)), authoriser_(authoriser) {}

  /** `open_calls`: those of the object that is called, if it may end before its calls do. */
  template <class... Values>
  [[nodiscard]] Reply<Values...> answer(sdbus::Result<Values...>&& result,
                                        std::shared_ptr<OpenCalls> open_calls = {}) const {
    return Reply<Values...>(connection_, std::move(result), std::move(open_calls));
  }

  /**
   * Asks whether the caller of the method that is running on `object` may call it; then runs `then(uid of the caller)`,
   * or `then(verdict)`, or answers `reply` with the refusal. `then` may run after the object is gone.
   */
  template <class... Values, class Then>
  void authorised(const sdbus::IObject& object, const char* interface, std::optional<uid_t> owner,
                  const Reply<Values...>& reply, Then then) {
    authoriser_.ask({current_caller(object), interface, current_member(object), owner},
                    [reply, then = std::move(then)](const Verdict& verdict) mutable {
                      if (verdict) {
                        guard(reply, [&] {
                          if constexpr (std::is_invocable_v<Then&, const Verdict&>) {
                            then(verdict);
                          } else {
                            then(*verdict.uid);
                          }
                        });
                      } else {
                        reply.fail(verdict.error_name, verdict.message);
                      }
                    });
  }

 private:
  std::shared_ptr<sdbus::IConnection> connection_;
  Authoriser& authoriser_;
};

}  // namespace hal::bus
