#include "claudy/exec_stream.hpp"

#include "claudy/client.hpp"
#include "claudy/reply.hpp"
#include "claudy/signals.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include <nlohmann/json.hpp>

namespace hal::claudy {

namespace {

struct Running {
  ExecStreams::Ends ends;
  std::string id;
};

Result<Running> start_program(Bus& bus, const std::string& path, const std::vector<std::string>& command,
                              Options options) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) {
    return errno_error("pipe");
  }
  UniqueFd read_end(fds[0]);
  const UniqueFd write_end(fds[1]);
  options.emplace_back("stderr", Fd{write_end.get()});
  auto reply = bus.call(worker_method(path, "Exec"), {Value(command), Argument(std::move(options))});
  if (!reply) {
    return reply.error();
  }
  if (reply->fds.size() != 1 || reply->body().size() != 2 || !reply->body()[1].is_string()) {
    return Error{Errc::protocol, "the daemon sent no stream: claudy and the daemon are of different versions"};
  }
  return Running{{std::move(reply->fds.front()), std::move(read_end)}, reply->body()[1].get<std::string>()};
}

}  // namespace

ExecStreams::ExecStreams(event::Loop& loop, std::vector<Endpoint> endpoints, std::function<void()> on_drained)
    : on_drained_(std::move(on_drained)),
      input_(loop, std::move(endpoints[0]), std::move(endpoints[1]), "exec:input",
             {{}, [this](Pump::End) { input_.finish_writing(); }}),
      output_(loop, std::move(endpoints[2]), std::move(endpoints[3]), "exec:output",
              {{}, [this](Pump::End end) { on_output_end(output_, end); }}),
      errors_(loop, std::move(endpoints[4]), std::move(endpoints[5]), "exec:errors",
              {{}, [this](Pump::End end) { on_output_end(errors_, end); }}) {}

Result<std::unique_ptr<ExecStreams>> ExecStreams::start(event::Loop& loop, Ends ends,
                                                        std::function<void()> on_drained) {
  std::vector<Endpoint> endpoints;
  auto add = [&endpoints](Result<Endpoint> endpoint) -> Result<void> {
    if (!endpoint) {
      return endpoint.error();
    }
    endpoints.push_back(std::move(*endpoint));
    return {};
  };
  using Direction = Endpoint::Direction;
  // The stream twice, because epoll takes a descriptor only once and the directions have sources of their own.
  for (auto added :
       {add(Endpoint::standard(STDIN_FILENO, Direction::read)), add(Endpoint::own(ends.stream.duplicate())),
        add(Endpoint::own(std::move(ends.stream))), add(Endpoint::standard(STDOUT_FILENO, Direction::write)),
        add(Endpoint::own(std::move(ends.errors))), add(Endpoint::standard(STDERR_FILENO, Direction::write))}) {
    if (!added) {
      return added.error();
    }
  }
  return std::make_unique<ExecStreams>(loop, std::move(endpoints), std::move(on_drained));
}

void ExecStreams::program_ended() {
  input_.stop();
  output_.drain();
  errors_.drain();
  on_output_end(output_, Pump::End::source_ended);
}

void ExecStreams::on_output_end(Pump& pump, Pump::End end) {
  if (end == Pump::End::sink_closed) {
    pump.refuse();  // our reader is gone: let the program's writes fail, as in a pipe
  }
  if (output_.ended() && errors_.ended() && !std::exchange(drained_, true)) {
    on_drained_();
  }
}

Result<int> exec_plain(Bus& bus, const std::string& path, const std::vector<std::string>& command, Options options) {
  auto running = start_program(bus, path, command, std::move(options));
  if (!running) {
    return running.error();
  }
  const IgnoredSigpipe no_sigpipe;
  event::Loop loop;
  bus.attach(loop);
  std::optional<Result<Reply>> code;
  bool drained = false;
  const auto end_if_done = [&] {
    if (code && drained) {
      loop.exit(0);
    }
  };
  auto streams = ExecStreams::start(loop, std::move(running->ends), [&] {
    drained = true;
    end_if_done();
  });
  if (!streams) {
    bus.detach();
    return streams.error();
  }
  const auto wait = worker_method(path, "WaitExec");
  bus.start(
      wait, {Value(running->id)},
      [&](Result<Reply> reply) {
        code.emplace(std::move(reply));
        if (*code) {
          (*streams)->program_ended();
        }
        end_if_done();
      },
      Bus::forever);
  (void)loop.run();
  bus.detach();
  if (!*code) {  // the daemon was restarted under us: the new one knows the program as well
    code.emplace(bus.call(wait, {Value(running->id)}, Bus::forever));
  }
  if (!*code) {
    return code->error();
  }
  return (*code)->body().at(0).get<int>();
}

}  // namespace hal::claudy
