#include "component/engine_real_support.hpp"

#include "base/text.hpp"
#include "process/child.hpp"
#include "process/spawn.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <cstdlib>

#include <fmt/format.h>

namespace hal::engine {

using namespace std::chrono_literals;
using test::run_until;

Result<int> run_program(event::Loop& loop, std::vector<std::string> argv, std::chrono::milliseconds deadline) {
  process::SpawnSpec spec;
  spec.argv = std::move(argv);
  spec.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"};
  spec.fds = {{2, 2}};
  spec.die_with_parent = false;  // an engine that it starts is to live on
  const auto pid = process::spawn(spec);
  if (!pid) {
    return pid.error();
  }
  std::optional<int> code;
  const process::Child child(loop, *pid, "test:program",
                             [&code](const process::ExitStatus& status) { code = status.code; });
  if (!run_until(
          loop, [&code] { return code.has_value(); }, deadline)) {
    return Error{Errc::timed_out, spec.argv.front() + " did not end"};
  }
  return *code;
}

void import_image(event::Loop& loop, const std::string& socket) {
  const auto script = fmt::format(
      "set -e; box=$(command -v busybox); dir=$(mktemp -d); trap 'rm -rf \"$dir\"' EXIT; mkdir \"$dir/bin\"; "
      "cp \"$box\" \"$dir/bin/busybox\"; for name in $(\"$box\" --list); do "
      "[ \"$name\" = busybox ] || ln -s busybox \"$dir/bin/$name\"; done; "
      "tar -C \"$dir\" -c . | docker -H 'unix://{}' import - {} >/dev/null",
      socket, real_image);
  const auto code = run_program(loop, {"/bin/sh", "-c", script});
  ASSERT_TRUE(code) << code.error().message;
  ASSERT_EQ(*code, 0) << "importing the image (Debian: busybox-static, docker.io)";
}

std::string RealEngine::socket() {
  const char* value = std::getenv("HAL9000_TEST_ENGINE");
  return value != nullptr ? value : "";
}

void RealEngine::SetUp() {
  if (socket().empty()) {
    GTEST_SKIP() << "HAL9000_TEST_ENGINE does not name the socket of a container engine";
  }
  instance_ = "test-" + text::random_hex(12);
  Options options;
  options.socket = socket();
  options.instance = instance_;
  client_ = std::make_unique<Client>(loop_, std::move(options));
  client_->set_listener(&recorder_);
  ASSERT_TRUE(run_until(loop_, [this] { return recorder_.ups > 0; })) << recorder_.reason.message;
  const auto image = await<worker::ImageInfo>([this](auto done) { client_->inspect_image(real_image, done); });
  if (!image) {
    ASSERT_EQ(image.error().code, Errc::not_found) << image.error().message;
    import_image(loop_, socket());
  }
}

void RealEngine::TearDown() {
  if (!client_) {
    return;
  }
  const auto left = await<std::vector<worker::ContainerInfo>>([this](auto done) { client_->list({}, done); });
  ASSERT_TRUE(left) << left.error().message;
  for (const auto& container : *left) {
    const auto removed = remove(container.id);
    EXPECT_TRUE(removed) << removed.error().message;
  }
}

worker::ContainerSpec RealEngine::spec(const std::string& script) const {
  worker::ContainerSpec spec;
  spec.name = instance_ + "-" + text::random_hex(6);
  spec.image = real_image;
  spec.labels = {{"org.hal9000.id", text::random_hex(12)}, {"org.hal9000.role", "worker"}};
  spec.entrypoint = {"/bin/sh", "-c"};
  spec.command = {script};
  spec.network = "none";
  spec.memory_bytes = std::uint64_t{64} << 20;
  spec.nano_cpus = 500'000'000;
  spec.pids = 50;
  return spec;
}

Result<ContainerId> RealEngine::create(const worker::ContainerSpec& spec) {
  return await<ContainerId>([&](auto done) { client_->create(spec, done); });
}

ContainerId RealEngine::run(const worker::ContainerSpec& spec) {
  const auto id = create(spec);
  EXPECT_TRUE(id) << id.error().message;
  if (!id) {
    return {};
  }
  const auto started = await<void>([&](auto done) { client_->start(*id, done); });
  EXPECT_TRUE(started) << started.error().message;
  return *id;
}

Result<worker::ContainerInfo> RealEngine::inspect(const ContainerId& id) {
  return await<worker::ContainerInfo>([&](auto done) { client_->inspect(id, done); });
}

Result<void> RealEngine::remove(const ContainerId& id) {
  return await<void>([&](auto done) { client_->remove(id, true, done); });
}

bool RealEngine::wait_event(Kind kind, const ContainerId& id, int times) {
  return run_until(
      loop_, [&] { return recorder_.count(kind, id) >= times; }, 30s);
}

std::string RealEngine::output(const ContainerId& id, const worker::LogOptions& options) {
  auto pipe = test::make_pipe();
  std::optional<Result<void>> ended;
  const auto handle = client_->logs(id, options, std::move(pipe.write), [&](Result<void> result) { ended = result; });
  const PipeReader reader(loop_, std::move(pipe.read));
  EXPECT_TRUE(run_until(
      loop_, [&] { return ended.has_value() && reader.closed; }, 30s));
  EXPECT_TRUE(ended && *ended) << (ended ? ended->error().message : "");
  return reader.text;
}

bool RealEngine::wait_output(const ContainerId& id, const std::string& text) {
  auto pipe = test::make_pipe();
  const auto handle = client_->logs(id, {.follow = true}, std::move(pipe.write), [](const Result<void>&) {});
  const PipeReader reader(loop_, std::move(pipe.read));
  return run_until(
      loop_, [&] { return reader.text == text; }, 30s);
}

PipeReader::PipeReader(event::Loop& loop, UniqueFd fd)
    : fd_(std::move(fd)),
      source_(std::make_unique<event::Io>(loop, fd_.get(), EPOLLIN, "test:pipe", [this](std::uint32_t) { read(); })) {}

void PipeReader::read() {
  char buffer[4096];
  const auto bytes = ::read(fd_.get(), buffer, sizeof buffer);
  if (bytes > 0) {
    text.append(buffer, static_cast<std::size_t>(bytes));
  } else {
    closed = true;
    source_.reset();
  }
}

}  // namespace hal::engine
