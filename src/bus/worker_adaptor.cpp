#include "bus/worker_adaptor.hpp"

#include "base/limits.hpp"
#include "base/names.hpp"
#include "bus/options.hpp"
#include "bus/signals.hpp"
#include "bus/variant.hpp"

#include <memory>
#include <utility>

#include <fmt/format.h>

namespace hal::bus {

namespace {

/** Calls of WaitExec at one worker: four for each program it may run. */
constexpr long max_waiting = 4 * static_cast<long>(limits::execs_per_worker);

Error gone(const WorkerId& id) {
  return {Errc::not_found, fmt::format("worker {} is gone", id.value)};
}

/** Answers with a terminal or socket and its id. */
Done<worker::Stream> answer_with_stream(Reply<sdbus::UnixFd, std::string> reply) {
  return [reply = std::move(reply)](Result<worker::Stream> stream) {
    if (stream) {
      reply.succeed(compat::to_bus(std::move(stream->fd)), std::to_string(stream->id.value));
    } else {
      reply.fail(stream.error());
    }
  };
}

}  // namespace

std::string worker_path(const WorkerId& id) {
  return names::worker_path_prefix + id.value;
}

WorkerAdaptor::WorkerAdaptor(sdbus::IConnection& connection, WorkerContext context, WorkerId id)
    : AdaptorInterfaces(connection, sdbus::ObjectPath{worker_path(id)}), context_(context), id_(std::move(id)) {
  registerAdaptor();
  (void)published_.update(snapshot());
}

WorkerAdaptor::~WorkerAdaptor() {
  open_calls_->object_gone(gone(id_));
  unregisterAdaptor();
}

void WorkerAdaptor::announce() {
  emit([&] { getObject().emitInterfacesAddedSignal(); });
}

void WorkerAdaptor::withdraw() {
  emit([&] { getObject().emitInterfacesRemovedSignal(); });
}

void WorkerAdaptor::publish() {
  if (context_.registry.find(id_) != nullptr) {
    emit_changed(getObject(), INTERFACE_NAME, published_.update(snapshot()));
  }
}

/** Runs `then` if the worker is there and the caller may; `then` outlives this object. */
template <class... Values, class Then>
void WorkerAdaptor::run(const Reply<Values...>& reply, Then then) {
  guard(reply, [&] {
    const auto* worker = context_.registry.find(id_);
    if (worker == nullptr) {
      reply.fail(gone(id_));
      return;
    }
    context_.calls.authorised(getObject(), INTERFACE_NAME, worker->owner, reply,
                              [then = std::move(then)](uid_t) mutable { then(); });
  });
}

void WorkerAdaptor::Attach(sdbus::Result<sdbus::UnixFd, std::string>&& result, Options options) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  guard(reply, [&] {
    auto values = to_values(options);
    auto read = values ? read_attach_options(std::move(*values)) : values.error();
    if (!read) {
      reply.fail(read.error());
      return;
    }
    run(reply, [&registry = context_.registry, id = id_, read = std::move(*read), reply] {
      registry.attach(id, read.size, read.term, answer_with_stream(reply));
    });
  });
}

void WorkerAdaptor::Lease(sdbus::Result<sdbus::UnixFd>&& result) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  run(reply, [context = context_, id = id_, reply] {
    if (context.registry.find(id) == nullptr) {
      reply.fail(gone(id));
      return;
    }
    auto lease = context.leases.take(id);
    if (lease) {
      reply.succeed(compat::to_bus(std::move(*lease)));
    } else {
      reply.fail(lease.error());
    }
  });
}

void WorkerAdaptor::Exec(sdbus::Result<sdbus::UnixFd, std::string>&& result, std::vector<std::string> argv,
                         Options options) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  guard(reply, [&] {
    auto values = to_values(options);
    auto read = values ? read_exec_options(std::move(argv), std::move(*values)) : values.error();
    if (!read) {
      reply.fail(read.error());
      return;
    }
    const auto request = std::make_shared<worker::ExecRequest>(std::move(*read));
    run(reply, [&registry = context_.registry, id = id_, request, reply] {
      registry.exec(id, std::move(*request), answer_with_stream(reply));
    });
  });
}

void WorkerAdaptor::WaitExec(sdbus::Result<std::int32_t>&& result, std::string id) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  guard(reply, [&] {
    const auto exec = read_exec_id(id);
    if (!exec) {
      reply.fail(exec.error());
      return;
    }
    if (waiting_.use_count() > max_waiting) {
      reply.fail(
          {Errc::limit, fmt::format("{} calls wait for programs of this worker, which is the limit", max_waiting)});
      return;
    }
    const auto counted = std::make_shared<std::shared_ptr<const char>>(waiting_);
    run(reply, [&registry = context_.registry, worker = id_, exec = *exec, reply, counted] {
      registry.wait_exec(worker, exec, [reply, counted](const hal::Result<int>& code) {
        if (code) {
          reply.succeed(*code);
        } else {
          reply.fail(code.error());
        }
      });
    });
  });
}

void WorkerAdaptor::ResizeTerminal(sdbus::Result<>&& result, std::string id, std::uint16_t rows,
                                   std::uint16_t columns) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  guard(reply, [&] {
    const auto exec = read_exec_id(id);
    const auto size = read_size(rows, columns);
    if (!exec || !size) {
      reply.fail(exec ? size.error() : exec.error());
      return;
    }
    run(reply, [&registry = context_.registry, worker = id_, exec = *exec, size = *size, reply] {
      answer_with(reply)(registry.resize(worker, exec, size));
    });
  });
}

void WorkerAdaptor::Send(sdbus::Result<>&& result, std::string text) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  if (text.size() > max_send_bytes) {
    reply.fail({Errc::limit, fmt::format("a text must be of at most {} bytes", max_send_bytes)});
    return;
  }
  run(reply, [&registry = context_.registry, id = id_, text = std::move(text), reply] {
    registry.send(id, text, answer_with(reply));
  });
}

void WorkerAdaptor::Capture(sdbus::Result<std::string>&& result, std::uint32_t lines) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  if (lines > max_capture_lines) {
    reply.fail({Errc::invalid_argument, fmt::format("lines must be at most {}", max_capture_lines)});
    return;
  }
  run(reply, [&registry = context_.registry, id = id_, lines, reply] {
    registry.capture(id, lines, [reply](const hal::Result<std::string>& text) {
      if (text) {
        reply.succeed(bus_text(*text));
      } else {
        reply.fail(text.error());
      }
    });
  });
}

void WorkerAdaptor::Logs(sdbus::Result<sdbus::UnixFd>&& result, Options options) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  guard(reply, [&] {
    auto values = to_values(options);
    const auto read = values ? read_log_options(std::move(*values)) : values.error();
    if (!read) {
      reply.fail(read.error());
      return;
    }
    run(reply, [&registry = context_.registry, id = id_, read = *read, reply] {
      registry.logs(id, read, [reply](hal::Result<UniqueFd> pipe) {
        if (pipe) {
          reply.succeed(compat::to_bus(std::move(*pipe)));
        } else {
          reply.fail(pipe.error());
        }
      });
    });
  });
}

void WorkerAdaptor::Stop(sdbus::Result<>&& result, std::uint32_t timeout_ms) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  const auto timeout = read_stop_timeout(timeout_ms);
  if (!timeout) {
    reply.fail(timeout.error());
    return;
  }
  run(reply, [&registry = context_.registry, id = id_, timeout = *timeout, reply] {
    registry.stop(id, timeout, answer_with(reply));
  });
}

void WorkerAdaptor::Kill(sdbus::Result<>&& result, std::string signal) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  const auto number = read_signal(signal);
  if (!number) {
    reply.fail(number.error());
    return;
  }
  run(reply, [&registry = context_.registry, id = id_, number = *number, reply] {
    registry.kill(id, number, answer_with(reply));
  });
}

void WorkerAdaptor::Remove(sdbus::Result<>&& result) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  run(reply, [&registry = context_.registry, id = id_, reply] {
    reply.succeed_when_gone();
    registry.remove(id, answer_with(reply));
  });
}

void WorkerAdaptor::Restart(sdbus::Result<>&& result) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  run(reply, [&registry = context_.registry, id = id_, reply] { registry.restart(id, answer_with(reply)); });
}

void WorkerAdaptor::Pause(sdbus::Result<>&& result) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  run(reply, [&registry = context_.registry, id = id_, reply] { registry.pause(id, answer_with(reply)); });
}

void WorkerAdaptor::Resume(sdbus::Result<>&& result) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  run(reply, [&registry = context_.registry, id = id_, reply] { registry.resume(id, answer_with(reply)); });
}

void WorkerAdaptor::SetLimits(sdbus::Result<>&& result, Options limits) {
  const auto reply = context_.calls.answer(std::move(result), open_calls_);
  guard(reply, [&] {
    auto values = to_values(limits);
    const auto change = values ? read_limits(std::move(*values)) : values.error();
    if (!change) {
      reply.fail(change.error());
      return;
    }
    run(reply, [&registry = context_.registry, id = id_, change = *change, reply] {
      registry.set_limits(id, change, answer_with(reply));
    });
  });
}

}  // namespace hal::bus
