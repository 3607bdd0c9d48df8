# No function that a linker may take from another object - weak: inline functions and templates - may stand in a
# target's object, unless it carries the target's name: code for AVX-512 must never be what an older CPU is given.
#   cmake -DNM=nm "-DOBJECTS=a.o;b.o" -P symbols.cmake

set(looked 0)
foreach(object IN LISTS OBJECTS)
  if(NOT object MATCHES "target_([a-z0-9]+)\\.cpp")
    continue()
  endif()
  set(target ${CMAKE_MATCH_1})
  execute_process(COMMAND ${NM} --defined-only ${object} OUTPUT_VARIABLE listed COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" lines "${listed}")
  math(EXPR looked "${looked} + 1")
  # Mangled: gatewright::avx2::..., or what belongs to the object avx2_target itself.
  string(LENGTH ${target} length)
  string(LENGTH ${target}_target object_length)
  set(own "10gatewright(${length}${target}|${object_length}${target}_target)")
  foreach(line IN LISTS lines)
    if(line MATCHES " W " AND NOT line MATCHES "${own}")
      message(SEND_ERROR "target_${target} gives the linker a function that is not its own: ${line}")
    endif()
  endforeach()
endforeach()
if(looked EQUAL 0)
  message(FATAL_ERROR "no object of a target among: ${OBJECTS}")
endif()
message(STATUS "${looked} targets keep their symbols to themselves")
